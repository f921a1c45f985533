variable "project" {
  description = "First part of every name that this stack gives."
  type        = string
  default     = "gamma"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.project))
    error_message = "Use 2 to 20 lower-case letters, digits and hyphens, beginning with a letter: it becomes part of a bucket's name."
  }
}

variable "environment" {
  description = "Second part of every name, such as dev or prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,9}$", var.environment))
    error_message = "Use 2 to 10 lower-case letters and digits, beginning with a letter, such as dev or prod."
  }
}

variable "region" {
  description = "AWS region that the jobs train in. The bot's AWS_REGION must be the same."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "Write a region's code, such as eu-central-1."
  }
}

# What is kept, and for how long

variable "customer_managed_key" {
  description = "Encrypt the bucket with a KMS key of your own (about 1 USD a month) instead of with S3's. The queues always use SQS's own key."
  type        = bool
  default     = false
}

variable "source_days" {
  description = "Days that a commit's source is kept. A later attempt uploads it again."
  type        = number
  default     = 90

  validation {
    condition     = var.source_days >= 30 && floor(var.source_days) == var.source_days
    error_message = "Keep sources for 30 days or more: SageMaker lets a job wait and run for up to 28 days, and it may still have to fetch its source."
  }
}

variable "output_days" {
  description = "Days that a job's model and output are kept; 0 keeps them until somebody deletes them."
  type        = number
  default     = 0

  validation {
    condition     = var.output_days >= 0 && floor(var.output_days) == var.output_days
    error_message = "Write a whole number of days, or 0 to keep them."
  }
}

variable "checkpoint_days" {
  description = "Days after its last write that a checkpoint is kept; 0 keeps checkpoints until somebody deletes them."
  type        = number
  default     = 30

  validation {
    condition     = var.checkpoint_days >= 0 && floor(var.checkpoint_days) == var.checkpoint_days
    error_message = "Write a whole number of days, or 0 to keep them."
  }
}

variable "undo_days" {
  description = "Days that an overwritten or deleted source or output can still be brought back. Checkpoints, which are overwritten all the time, have 1 day."
  type        = number
  default     = 14

  validation {
    condition     = var.undo_days >= 1 && floor(var.undo_days) == var.undo_days
    error_message = "Write a whole number of days, 1 or more."
  }
}

variable "delete_data_on_destroy" {
  description = "Let `terraform destroy` delete the bucket with everything in it. Leave it false where the models matter."
  type        = bool
  default     = false
}

# What jobs may reach

variable "input_locations" {
  description = "Folders outside of this stack's bucket that jobs read training data from, such as s3://my-data/mnist/."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for uri in var.input_locations : can(regex("^s3://[a-z0-9][a-z0-9.-]+/([^?*]+/)?$", uri))])
    error_message = "Each entry is a folder in S3 with a slash at its end and without wildcards, such as s3://my-data/mnist/."
  }
}

variable "key_arns" {
  description = "KMS keys of yours that training data, outputs or the disks of jobs are encrypted with (`kms_key` in gamma.yml)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "Each entry is the ARN of a key (not of an alias), such as arn:aws:kms:eu-central-1:111122223333:key/1234abcd-…."
  }
}

variable "secret_arns" {
  description = "Secrets Manager secrets that jobs may read (`secrets` in gamma.yml names them by ARN)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^*?]+$", arn))])
    error_message = "Each entry is the whole ARN of one secret, with the six characters that Secrets Manager adds at its end and without wildcards."
  }
}

variable "image_repository_arns" {
  description = "ECR repositories with your training images; empty means every repository of this account in this region."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.image_repository_arns : can(regex("^arn:aws[a-z-]*:ecr:[a-z0-9-]+:[0-9]{12}:repository/.+$", arn))])
    error_message = "Each entry is a repository's ARN, such as arn:aws:ecr:eu-central-1:111122223333:repository/train or …/train-*."
  }
}

variable "framework_image_accounts" {
  description = "AWS accounts that publish the images behind `framework` in gamma.yml. Most regions use the default; AWS lists the others under Deep Learning Containers."
  type        = list(string)
  default     = ["763104351884"]

  validation {
    condition     = alltrue([for account in var.framework_image_accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "Each entry is an account number of 12 digits, in quotes."
  }
}

variable "subnet_ids" {
  description = "Subnets that jobs may be put into (`vpc` in gamma.yml). Empty: jobs run outside of your network."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "Each entry is a subnet's id, such as subnet-0123456789abcdef0."
  }
  validation {
    condition     = (length(var.subnet_ids) == 0) == (length(var.security_group_ids) == 0)
    error_message = "A job in your network needs both subnet_ids and security_group_ids."
  }
}

variable "security_group_ids" {
  description = "Security groups that jobs in your network may be given."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.security_group_ids : can(regex("^sg-[0-9a-f]+$", id))])
    error_message = "Each entry is a security group's id, such as sg-0123456789abcdef0."
  }
}

# What the bot may do

variable "instance_types" {
  description = "Instance types that the bot may start, such as ml.g5.*; empty means every type your quotas allow."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for type in var.instance_types : can(regex("^ml\\.[a-z0-9*-]+\\.[a-z0-9*]+$", type))])
    error_message = "Each entry is an instance type of SageMaker or a pattern of them, such as ml.g5.xlarge or ml.g5.*."
  }
}

variable "read_prices" {
  description = "Let the bot read AWS's price list, which `gamma prices refresh` uses."
  type        = bool
  default     = true
}

variable "read_quotas" {
  description = "Let the bot read your SageMaker quotas, so that it can say how many instances of a type you may start."
  type        = bool
  default     = false
}
