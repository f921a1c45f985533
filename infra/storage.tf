# One bucket: sources/ that the bot puts, outputs/ and checkpoints/ that jobs put.

resource "aws_kms_key" "bucket" {
  count = var.customer_managed_key ? 1 : 0

  # No policy here: AWS's default one lets the account's IAM policies decide, and those are in iam.tf.
  description             = "${local.name}: sources, outputs and checkpoints of training jobs"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_kms_alias" "bucket" {
  count = var.customer_managed_key ? 1 : 0

  name          = "alias/${local.name}"
  target_key_id = aws_kms_key.bucket[0].key_id
}

resource "aws_s3_bucket" "training" {
  bucket        = local.bucket_name
  force_destroy = var.delete_data_on_destroy
}

resource "aws_s3_bucket_public_access_block" "training" {
  bucket                  = aws_s3_bucket.training.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "training" {
  bucket = aws_s3_bucket.training.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "training" {
  bucket = aws_s3_bucket.training.id

  rule {
    # A bucket key turns one KMS request for every object into one for many.
    bucket_key_enabled = var.customer_managed_key

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.customer_managed_key ? "aws:kms" : "AES256"
      kms_master_key_id = one(aws_kms_key.bucket[*].arn)
    }
  }
}

resource "aws_s3_bucket_versioning" "training" {
  bucket = aws_s3_bucket.training.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "training" {
  # Rules about old versions need versioning to be on.
  depends_on = [aws_s3_bucket_versioning.training]
  bucket     = aws_s3_bucket.training.id

  dynamic "rule" {
    for_each = {
      sources     = { prefix = local.sources, days = var.source_days, undo_days = var.undo_days }
      outputs     = { prefix = local.outputs, days = var.output_days, undo_days = var.undo_days }
      checkpoints = { prefix = local.checkpoints, days = var.checkpoint_days, undo_days = 1 }
    }

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = rule.value.prefix
      }

      dynamic "expiration" {
        for_each = rule.value.days > 0 ? [rule.value.days] : []

        content {
          days = expiration.value
        }
      }

      noncurrent_version_expiration {
        noncurrent_days = rule.value.undo_days
      }

      # A job that is killed while it uploads leaves parts that nobody sees and everybody pays.
      abort_incomplete_multipart_upload {
        days_after_initiation = 7
      }
    }
  }
}

resource "aws_s3_bucket_policy" "training" {
  # S3 refuses a second change of who may do what while the first one is under way.
  depends_on = [aws_s3_bucket_public_access_block.training]
  bucket     = aws_s3_bucket.training.id
  policy     = data.aws_iam_policy_document.bucket.json
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket_arn, "${local.bucket_arn}/*"]

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
