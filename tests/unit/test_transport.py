"""What the embedded broker's transport does on import."""

import logging

import pytest
from pgmq.logger import LOGURU_AVAILABLE, LoggingManager

import worker.queue.transport  # noqa: F401 (its import is what is tested)


@pytest.mark.vllm
@pytest.mark.skipif(not LOGURU_AVAILABLE, reason="vllm is not installed, which brings loguru")
def test_pgmq_keeps_to_logging_also_where_vllm_has_brought_loguru():
    assert isinstance(LoggingManager.get_logger("pgmq.queue"), logging.Logger)
