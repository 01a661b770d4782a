"""Benchmark tasks with known answers."""

# Importing a task's file registers it.
from wherefrom.tasks import _backdoor as _backdoor
from wherefrom.tasks import _emotion as _emotion
from wherefrom.tasks import _facts as _facts
from wherefrom.tasks import _filtering as _filtering
from wherefrom.tasks import _grammars as _grammars
from wherefrom.tasks import _harmful as _harmful
from wherefrom.tasks import _math as _math
from wherefrom.tasks import _mislabelled as _mislabelled
from wherefrom.tasks import _paper as _paper
from wherefrom.tasks import _twins as _twins
from wherefrom.tasks._task import Task, TaskSize, build_task, list_tasks, task

__all__ = ["Task", "TaskSize", "build_task", "list_tasks", "task"]
