"""The production file: a country's surveys and registers as one table of estimates."""
