# Named as the bot's environment names them.

output "AWS_REGION" {
  description = "The region that jobs train in."
  value       = var.region
}

output "GAMMA_AWS_BUCKET" {
  description = "The bucket for sources, outputs and checkpoints."
  value       = aws_s3_bucket.training.bucket
}

output "GAMMA_AWS_ROLE_ARN" {
  description = "The role that training jobs run as."
  value       = aws_iam_role.training.arn
}

output "GAMMA_AWS_EVENTS_QUEUE_URL" {
  description = "The queue that tells the bot of training jobs' changes."
  value       = aws_sqs_queue.events.url
}

output "env" {
  description = "The same as lines for the bot's .env: terraform output -raw env >> .env"
  value       = <<-LINES
    AWS_REGION=${var.region}
    GAMMA_AWS_BUCKET=${aws_s3_bucket.training.bucket}
    GAMMA_AWS_ROLE_ARN=${aws_iam_role.training.arn}
    GAMMA_AWS_EVENTS_QUEUE_URL=${aws_sqs_queue.events.url}
  LINES
}

output "bot_policy_arn" {
  description = "The policy to attach to the role or user that the bot runs as."
  value       = aws_iam_policy.bot.arn
}

output "dead_letter_queue_url" {
  description = "Events that were not dealt with; normally empty."
  value       = aws_sqs_queue.dead.url
}

output "key_arn" {
  description = "The bucket's key, for `kms_key` in gamma.yml; null without customer_managed_key."
  value       = one(aws_kms_key.bucket[*].arn)
}
