"""Trains on Amazon SageMaker: one training job per try of an attempt, asked for with boto3."""
