package view_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"pix/store/memstore"
	"pix/view"
)

// A program other than a browser exchanges the token, too.
func Example() {
	ctx := context.Background()
	s := memstore.New(nil)
	if _, err := s.AddTextToStore(ctx, "hello.txt", "hello world", nil); err != nil {
		log.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	origin := "http://" + server.Listener.Addr().String()
	handler, err := view.New(ctx, s, &view.Options{Origin: origin})
	if err != nil {
		log.Fatal(err)
	}
	server.Config.Handler = handler
	server.Start()
	defer server.Close()

	// A browser would open origin + "/#token=" + handler.NewToken().
	send := func(method, path, body, bearer string) (answer map[string]any) {
		req, err := http.NewRequestWithContext(ctx, method, origin+path, strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Authorization", "Bearer "+bearer)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			log.Fatal(err)
		}
		return answer
	}
	session := send("POST", "/api/session", `{"token": "`+handler.NewToken()+`"}`, "")
	summary := send("GET", "/api/summary", "", session["bearer"].(string))
	fmt.Println(summary["paths"], summary["narSize"])
	// Output: 1 128
}
