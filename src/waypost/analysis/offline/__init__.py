"""Analysis without a model: language, sentiment, readability, key phrases and advice, by counting and by word lists."""

from waypost.analysis.offline.analyzer import OFFLINE, analyze_offline

__all__ = ["OFFLINE", "analyze_offline"]
