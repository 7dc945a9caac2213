"""The figures of a report, as wide as a column: drawn by matplotlib, each mark with the text that hovering shows."""
