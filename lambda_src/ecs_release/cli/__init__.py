"""The command ``ecs-release``."""
