// Serve the snippets that routes.go lists: POST /<profile>, with the secret in base64 in the header test-secret.
package main

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	panic(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, err := base64.StdEncoding.DecodeString(r.Header.Get("test-secret"))
		if err != nil {
			panic(err)
		}
		os.Setenv("WEBHOOK_SECRET", string(secret))
		routes[r.URL.Path[1:]](w, r)
	})))
}
