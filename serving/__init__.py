"""Answering and operating."""
