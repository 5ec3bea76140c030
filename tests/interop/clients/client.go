// Go's net/http: what support.sh calls the main job.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(method, url, file string) (int, []byte) {
	var body io.Reader
	if file != "-" {
		content, err := os.ReadFile(file)
		check(err)
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequest(method, url, body)
	check(err)
	request.Header.Set("Authorization", os.Getenv("APPLICATION_AUTHORIZATION"))
	answer, err := http.DefaultClient.Do(request)
	check(err)
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	check(err)
	return answer.StatusCode, content
}

func main() {
	var method, url, file, save string
	for {
		_, err := fmt.Scanln(&method, &url, &file, &save)
		if err == io.EOF {
			return
		}
		check(err)
		status, content := send(method, url, file)
		check(os.WriteFile(save, content, 0o600))
		fmt.Println(status)
	}
}
