<?php
// Serve the snippets in the folder that SNIPPETS names: POST /<profile>, with the secret in base64 in the header test-secret.
putenv('WEBHOOK_SECRET=' . base64_decode($_SERVER['HTTP_TEST_SECRET']));
require getenv('SNIPPETS') . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) . '.php';
receive_webhook();
