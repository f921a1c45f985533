# SageMaker tells EventBridge about every change of a training job; ours are put into a queue that the bot reads.
#
# The queues are encrypted with SQS's own key and not with one of ours: EventBridge silently drops events for a queue
# whose key it may not use, and the events hold nothing that `sagemaker:DescribeTrainingJob` would not tell.

resource "aws_cloudwatch_event_rule" "training_jobs" {
  name        = local.rule_name
  description = "State changes of the training jobs that Gamma started."

  event_pattern = jsonencode({
    source      = ["aws.sagemaker"]
    detail-type = ["SageMaker Training Job State Change"]
    detail      = { TrainingJobName = [{ prefix = local.job_name_prefix }] }
  })
}

resource "aws_cloudwatch_event_target" "queue" {
  rule = aws_cloudwatch_event_rule.training_jobs.name
  arn  = aws_sqs_queue.events.arn

  # What EventBridge can't deliver within an hour is of no use: the bot asks SageMaker itself by then.
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead.arn
  }
}

resource "aws_sqs_queue" "events" {
  name                       = local.queue_name
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = 60
  message_retention_seconds  = 4 * 24 * 3600
  receive_wait_time_seconds  = 20
  policy                     = data.aws_iam_policy_document.queue["events"].json

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = 5
  })
}

# What was delivered five times and never done with, and what EventBridge could not deliver.
resource "aws_sqs_queue" "dead" {
  name                      = local.dead_name
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 14 * 24 * 3600
  policy                    = data.aws_iam_policy_document.queue["dead"].json
}

# The policies are the queues' own, not resources beside them, so that a queue never stands without one. Therefore they
# name queue and rule by ARNs that we put together.
data "aws_iam_policy_document" "queue" {
  for_each = { events = local.queue_arn, dead = local.dead_queue_arn }

  statement {
    sid       = "OnlyOurRuleWrites"
    actions   = ["sqs:SendMessage"]
    resources = [each.value]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.rule_arn]
    }
  }

  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
