data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  name      = "${var.project}-${var.environment}"
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  # The bot names every training job gamma-…, whatever the project is called. Events and permissions are selected by it.
  job_name_prefix = "gamma-"
  job_arn         = "arn:${local.partition}:sagemaker:${var.region}:${local.account}:training-job/${local.job_name_prefix}*"

  # Bucket names are one space for all customers of AWS.
  bucket_name = "${local.name}-${local.account}-${var.region}"
  bucket_arn  = "arn:${local.partition}:s3:::${local.bucket_name}"

  # The bot's folders in the bucket.
  sources     = "sources/"
  outputs     = "outputs/"
  checkpoints = "checkpoints/"

  # CloudWatch Logs names a group with and without ":*", depending on the call.
  log_group_arns = [local.log_group_arn, "${local.log_group_arn}:*"]
  log_group_arn  = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/aws/sagemaker/TrainingJobs"
  log_stream_arn = "${local.log_group_arn}:log-stream:${local.job_name_prefix}*"

  own_image_repositories = coalescelist(var.image_repository_arns, ["arn:${local.partition}:ecr:${var.region}:${local.account}:repository/*"])
  framework_repositories = [for account in var.framework_image_accounts : "arn:${local.partition}:ecr:${var.region}:${account}:repository/*"]
  image_repositories     = concat(local.own_image_repositories, local.framework_repositories)

  # A folder may be listed with and without its last slash, since people write both s3://my-data/mnist and s3://my-data/mnist/.
  inputs        = [for uri in var.input_locations : regex("^s3://(?P<bucket>[^/]+)/(?P<folder>.*)$", uri)]
  input_arns    = [for input in local.inputs : "arn:${local.partition}:s3:::${input.bucket}/${input.folder}*"]
  input_folders = { for input in local.inputs : "arn:${local.partition}:s3:::${input.bucket}" => ["${input.folder}*", trimsuffix(input.folder, "/")]... }

  key_arns = concat(aws_kms_key.bucket[*].arn, var.key_arns)

  in_a_network = length(var.subnet_ids) > 0
  ec2_arn      = "arn:${local.partition}:ec2:${var.region}:${local.account}"

  rule_name      = "${local.name}-training-jobs"
  rule_arn       = "arn:${local.partition}:events:${var.region}:${local.account}:rule/${local.rule_name}"
  queue_name     = "${local.name}-events"
  queue_arn      = "arn:${local.partition}:sqs:${var.region}:${local.account}:${local.queue_name}"
  dead_name      = "${local.name}-events-dead"
  dead_queue_arn = "arn:${local.partition}:sqs:${var.region}:${local.account}:${local.dead_name}"
}
