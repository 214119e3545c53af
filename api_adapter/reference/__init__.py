"""The reference of the API: its OpenAPI document, and a page that shows it without the internet."""
