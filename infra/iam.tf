# Two identities: what a training job may do (a role that SageMaker takes on) and what the bot may do (a policy to attach
# to whatever the bot runs as).

# The training role

resource "aws_iam_role" "training" {
  name                 = "${local.name}-training"
  description          = "What a training job that Gamma started may do."
  assume_role_policy   = data.aws_iam_policy_document.training_trust.json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "training_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["sagemaker.amazonaws.com"]
    }
    # Without this, a job in somebody else's account could ask SageMaker to take on our role.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role_policy" "training" {
  name   = "training"
  role   = aws_iam_role.training.id
  policy = data.aws_iam_policy_document.training.json
}

data "aws_iam_policy_document" "training" {
  statement {
    sid       = "ReadOurFolders"
    actions   = ["s3:GetObject"]
    resources = [for folder in [local.sources, local.outputs, local.checkpoints] : "${local.bucket_arn}/${folder}*"]
  }

  statement {
    sid       = "WriteResults"
    actions   = ["s3:PutObject"]
    resources = [for folder in [local.outputs, local.checkpoints] : "${local.bucket_arn}/${folder}*"]
  }

  # The whole bucket is ours, and S3 says "missing" instead of "denied" only to who may list without a prefix.
  statement {
    sid       = "ListOurBucket"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  dynamic "statement" {
    for_each = length(local.input_arns) > 0 ? [local.input_arns] : []

    content {
      sid       = "ReadInputs"
      actions   = ["s3:GetObject"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = local.input_folders

    content {
      actions   = ["s3:ListBucket"]
      resources = [statement.key]

      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = flatten(statement.value)
      }
    }
  }

  dynamic "statement" {
    for_each = length(local.key_arns) > 0 ? [local.key_arns] : []

    content {
      sid       = "UseKeys"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
      resources = statement.value
    }
  }

  # EC2 opens an encrypted disk with a grant that the role gives it; the role can't give one to anybody else.
  dynamic "statement" {
    for_each = length(local.key_arns) > 0 ? [local.key_arns] : []

    content {
      sid       = "EncryptDisks"
      actions   = ["kms:CreateGrant"]
      resources = statement.value

      condition {
        test     = "Bool"
        variable = "kms:GrantIsForAWSResource"
        values   = ["true"]
      }
    }
  }

  dynamic "statement" {
    for_each = length(var.secret_arns) > 0 ? [var.secret_arns] : []

    content {
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }

  statement {
    sid       = "OpenLog"
    actions   = ["logs:CreateLogGroup", "logs:DescribeLogStreams"]
    resources = local.log_group_arns
  }

  statement {
    sid       = "WriteOwnLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [local.log_stream_arn]
  }

  statement {
    sid       = "WriteMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringLike"
      variable = "cloudwatch:namespace"
      values   = ["/aws/sagemaker/*"]
    }
  }

  statement {
    sid       = "SignInToEcr"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "PullImages"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = local.image_repositories
  }

  dynamic "statement" {
    for_each = local.in_a_network ? [true] : []

    content {
      sid     = "JoinTheNetwork"
      actions = ["ec2:CreateNetworkInterface"]
      resources = concat(
        ["${local.ec2_arn}:network-interface/*"],
        [for id in var.subnet_ids : "${local.ec2_arn}:subnet/${id}"],
        [for id in var.security_group_ids : "${local.ec2_arn}:security-group/${id}"],
      )
    }
  }

  dynamic "statement" {
    for_each = local.in_a_network ? [true] : []

    content {
      sid       = "LeaveTheNetwork"
      actions   = ["ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterfacePermission"]
      resources = ["${local.ec2_arn}:network-interface/*"]
    }
  }

  # EC2 has no narrower resource than everything for what only looks.
  dynamic "statement" {
    for_each = local.in_a_network ? [true] : []

    content {
      sid = "SeeTheNetwork"
      actions = [
        "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
      ]
      resources = ["*"]
    }
  }
}

# The bot

resource "aws_iam_policy" "bot" {
  name        = "${local.name}-bot"
  description = "What Gamma itself may do. Attach it to the role or user that the bot runs as."
  policy      = data.aws_iam_policy_document.bot.json
}

data "aws_iam_policy_document" "bot" {
  statement {
    sid = "OurTrainingJobs"
    actions = [
      "sagemaker:AddTags", "sagemaker:CreateTrainingJob", "sagemaker:DescribeTrainingJob", "sagemaker:ListTags",
      "sagemaker:StopTrainingJob", "sagemaker:UpdateTrainingJob",
    ]
    resources = [local.job_arn]
  }

  # SageMaker lists all training jobs of the account or none.
  statement {
    sid       = "ListTrainingJobs"
    actions   = ["sagemaker:ListTrainingJobs"]
    resources = ["*"]
  }

  # A list of instances in the request is refused if one of them is not allowed.
  dynamic "statement" {
    for_each = length(var.instance_types) > 0 ? [var.instance_types] : []

    content {
      sid       = "OnlyTheseInstances"
      effect    = "Deny"
      actions   = ["sagemaker:CreateTrainingJob"]
      resources = ["*"]

      condition {
        test     = "ForAnyValue:StringNotLike"
        variable = "sagemaker:InstanceTypes"
        values   = statement.value
      }
    }
  }

  statement {
    sid       = "GiveJobsTheirRole"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.training.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["sagemaker.amazonaws.com"]
    }
  }

  statement {
    sid       = "PutSources"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket_arn}/${local.sources}*"]
  }

  statement {
    sid       = "ReadSourcesAndOutputs"
    actions   = ["s3:GetObject"]
    resources = [for folder in [local.sources, local.outputs] : "${local.bucket_arn}/${folder}*"]
  }

  # The whole bucket is ours, and S3 says "missing" instead of "denied" only to who may list without a prefix.
  statement {
    sid       = "ListOurBucket"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  # Which inputs a job had is told by their ETags, which a listing shows; the bot never reads the data.
  dynamic "statement" {
    for_each = local.input_folders

    content {
      actions   = ["s3:ListBucket"]
      resources = [statement.key]

      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = flatten(statement.value)
      }
    }
  }

  dynamic "statement" {
    for_each = length(local.key_arns) > 0 ? [local.key_arns] : []

    content {
      sid       = "UseKeysInS3"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = statement.value

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["s3.${var.region}.amazonaws.com"]
      }
    }
  }

  statement {
    sid       = "TakeEvents"
    actions   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    resources = [local.queue_arn]
  }

  statement {
    sid       = "FindLogs"
    actions   = ["logs:DescribeLogStreams"]
    resources = local.log_group_arns
  }

  statement {
    sid       = "ReadOurLogs"
    actions   = ["logs:GetLogEvents"]
    resources = [local.log_stream_arn]
  }

  statement {
    sid       = "PinImages"
    actions   = ["ecr:DescribeImages"]
    resources = local.image_repositories
  }

  # Neither prices nor quotas have a narrower resource than everything.
  dynamic "statement" {
    for_each = var.read_prices ? [true] : []

    content {
      sid       = "ReadPrices"
      actions   = ["pricing:GetProducts"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.read_quotas ? [true] : []

    content {
      sid       = "ReadQuotas"
      actions   = ["servicequotas:GetServiceQuota", "servicequotas:ListServiceQuotas"]
      resources = ["*"]
    }
  }
}
