<?php
// PHP's curl extension: what support.sh calls the main job.
$curl = curl_init(); // one handle, so that connections are kept
while ($line = fgets(STDIN)) {
    [$method, $url, $file, $save] = explode(' ', trim($line));
    curl_reset($curl);
    curl_setopt_array($curl, [
        CURLOPT_URL => $url,
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_HTTPHEADER => ['Authorization: ' . getenv('APPLICATION_AUTHORIZATION')],
        CURLOPT_FOLLOWLOCATION => true,
        CURLOPT_RETURNTRANSFER => true,
    ]);
    if ($file !== '-') {
        curl_setopt($curl, CURLOPT_POSTFIELDS, file_get_contents($file));
    }
    $body = curl_exec($curl);
    if ($body === false) {
        fwrite(STDERR, curl_error($curl) . "\n");
        exit(1);
    }
    file_put_contents($save, $body);
    echo curl_getinfo($curl, CURLINFO_RESPONSE_CODE), "\n";
}
