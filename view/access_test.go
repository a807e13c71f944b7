package view_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pix/store/memstore"
	"pix/view"
)

const origin = "http://127.0.0.1:8080"

// newHandler returns a handler over a store with one path.
func newHandler(t testing.TB) *view.Handler {
	t.Helper()
	s := memstore.New(nil)
	if _, err := s.AddTextToStore(t.Context(), "hello.txt", "hello world", nil); err != nil {
		t.Fatal(err)
	}
	h, err := view.New(t.Context(), s, &view.Options{Origin: origin, OtherHosts: []string{"localhost:8080"}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// send sends a request with headers, a name and a value each.
func send(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, origin+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// bearerOf exchanges a new token.
func bearerOf(t testing.TB, h *view.Handler) string {
	t.Helper()
	w := send(h, "POST", "/api/session", `{"token":"`+h.NewToken()+`"}`, "Origin", origin)
	_, rest, ok := strings.Cut(w.Body.String(), `{"bearer":"`)
	bearer, _, ended := strings.Cut(rest, `"`)
	if w.Code != http.StatusOK || !ok || !ended {
		t.Fatalf("the token was refused: %d %s", w.Code, w.Body)
	}
	return bearer
}

// Requests for another host are refused, with and without a bearer: its name may have been made to resolve to this machine.
func TestHost(t *testing.T) {
	h := newHandler(t)
	bearer := bearerOf(t, h)
	for host, want := range map[string]int{
		"127.0.0.1:8080": 200, "localhost:8080": 200, "LOCALHOST:8080": 200,
		"127.0.0.1": 421, "127.0.0.1:8081": 421, "evil.example:8080": 421, "127.0.0.1:8080.evil.example": 421, "": 421,
		"localhost.:8080": 421, "127.0.0.1.:8080": 421, "localhost:8080.": 421, "127.0.0.1:08080": 421, "127.0.0.1:8080:80": 421,
		"[::1]:8080": 421, "[::ffff:127.0.0.1]:8080": 421, "127.1:8080": 421, "2130706433:8080": 421, "0.0.0.0:8080": 421,
		"127.0.0.1:8080@evil.example": 421, "evil.example@127.0.0.1:8080": 421, "127.0.0.1:8080, evil.example": 421, ":8080": 421,
	} {
		for _, path := range []string{"/", "/app.js", "/api/summary", "/api/closure"} {
			if w := send(h, "GET", path, "", "Host", host, "Authorization", "Bearer "+bearer); w.Code != want {
				t.Errorf("GET %s for the host %q: %d, expected %d", path, host, w.Code, want)
			}
		}
		if w := send(h, "POST", "/api/session", `{"token":"`+h.NewToken()+`"}`, "Host", host, "Origin", origin); w.Code != want {
			t.Errorf("a token for the host %q: %d, expected %d", host, w.Code, want)
		}
	}
}

// The data needs a bearer. The files of the page do not.
func TestBearer(t *testing.T) {
	h := newHandler(t)
	bearer := bearerOf(t, h)
	for _, path := range []string{"/api/summary", "/api/closure"} {
		for authorization, want := range map[string]int{
			"Bearer " + bearer: 200, "bearer " + bearer: 200,
			"": 401, "Bearer": 401, "Bearer ": 401, "Bearer " + bearer[1:]: 401, "Bearer " + bearer + "A": 401,
			"Basic " + bearer: 401, "Bearer " + h.NewToken(): 401,
		} {
			w := send(h, "GET", path, "", "Authorization", authorization)
			if w.Code != want {
				t.Errorf("GET %s with %q: %d, expected %d", path, authorization, w.Code, want)
			}
			if want != 200 && strings.Contains(w.Body.String(), "hello") {
				t.Errorf("GET %s with %q: %s", path, authorization, w.Body)
			}
		}
	}
	for _, path := range []string{"/", "/app.js", "/style.css", "/licences.txt"} {
		if w := send(h, "GET", path, ""); w.Code != http.StatusOK {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
}

// A token is exchanged once, and only for the page of this server.
func TestToken(t *testing.T) {
	h := newHandler(t)
	token := h.NewToken()
	body := `{"token":"` + token + `"}`
	for _, headers := range [][]string{
		{}, // neither a browser nor our page
		{"Origin", "http://evil.example"},
		{"Origin", "https://127.0.0.1:8080"},
		{"Origin", "null"},
		{"Origin", origin, "Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "none"},
	} {
		if w := send(h, "POST", "/api/session", body, headers...); w.Code != http.StatusForbidden {
			t.Errorf("a token with %q: %d", headers, w.Code)
		}
	}
	for _, wrong := range []string{"", "{}", `{"token":""}`, `{"token":"` + token[1:] + `"}`, strings.Repeat(" ", 2000) + body} {
		if w := send(h, "POST", "/api/session", wrong, "Origin", origin); w.Code < 400 || w.Code >= 500 {
			t.Errorf("the body %.40q: %d", wrong, w.Code)
		}
	}
	for i, want := range []int{200, 403} {
		if w := send(h, "POST", "/api/session", body, "Origin", origin, "Sec-Fetch-Site", "same-origin"); w.Code != want {
			t.Errorf("exchange %d: %d, expected %d", i+1, w.Code, want)
		}
	}
}

// A page of another origin may not read the data, even if it has learned the bearer.
func TestOrigin(t *testing.T) {
	h := newHandler(t)
	bearer := "Bearer " + bearerOf(t, h)
	for _, headers := range [][]string{{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "none"}} {
		w := send(h, "GET", "/api/summary", "", append(headers, "Authorization", bearer)...)
		if w.Code != http.StatusForbidden {
			t.Errorf("with %q: %d", headers, w.Code)
		}
	}
	for _, headers := range [][]string{{"Origin", "http://localhost:8080"}, {"Sec-Fetch-Site", "same-origin"}} {
		if w := send(h, "GET", "/api/summary", "", append(headers, "Authorization", bearer)...); w.Code != http.StatusOK {
			t.Errorf("with %q: %d", headers, w.Code)
		}
	}
}

// Every answer has the headers that keep a browser from running, caching, framing or sharing it.
func TestHeaders(t *testing.T) {
	h := newHandler(t)
	bearer := "Bearer " + bearerOf(t, h)
	for _, path := range []string{"/", "/app.js", "/style.css", "/missing", "/api/summary", "/api/closure", "/api/missing", "/api/session"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
			w := send(h, method, path, "", "Authorization", bearer)
			header := w.Result().Header
			policy := header.Get("Content-Security-Policy")
			for _, directive := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
				if !strings.Contains(policy, directive) {
					t.Errorf("%s %s: the policy %q has no %s", method, path, policy, directive)
				}
			}
			if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http:") {
				t.Errorf("%s %s: the policy is %q", method, path, policy)
			}
			if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-store" || header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s %s: %v", method, path, header)
			}
			for name := range header {
				if strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" {
					t.Errorf("%s %s: it has the header %s", method, path, name)
				}
			}
			if method != "GET" && method != "HEAD" && w.Code < 400 {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
}

// Only files of the page are served.
func TestAssets(t *testing.T) {
	h := newHandler(t)
	for _, path := range []string{"/..", "/../assets.go", "/%2e%2e/assets.go", "/assets/app.js", "/app.js/", "//app.js", "/./app.js", "/.", "/index.html%00"} {
		if w := send(h, "GET", path, ""); w.Code != http.StatusNotFound {
			body, _ := io.ReadAll(w.Body)
			t.Errorf("GET %s: %d %.60q", path, w.Code, body)
		}
	}
}

// An origin of a wrong form is an error.
func TestOptions(t *testing.T) {
	for _, wrong := range []string{"", "127.0.0.1:8080", "http://", "ftp://host", "http://host/", "http://host/path", "http://user@host"} {
		if _, err := view.New(t.Context(), memstore.New(nil), &view.Options{Origin: wrong}); err == nil {
			t.Errorf("the origin %q is accepted", wrong)
		}
	}
}

// A host with the default port of the scheme, or without a port, is the same host. A host with two ports is none.
func TestHostPorts(t *testing.T) {
	for origin, hosts := range map[string]map[string]int{
		"http://[::1]:80":     {"[::1]": 200, "[::1]:80": 200, "[::1]:443": 421, "::1": 421, "[::1]:80:80": 421, "[::1]:8080": 421},
		"https://host:443":    {"host": 200, "host:443": 200, "HOST": 200, "host:80": 421, "host:443:443": 421, "host.": 421},
		"https://host:8080":   {"host:8080": 200, "host": 421, "host:443": 421, "host:8080:443": 421},
		"http://127.0.0.1:81": {"127.0.0.1:81": 200, "127.0.0.1": 421, "127.0.0.1:81:80": 421},
	} {
		h, err := view.New(t.Context(), memstore.New(nil), &view.Options{Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range hosts {
			if w := send(h, "GET", "/", "", "Host", host); w.Code != want {
				t.Errorf("%s with the host %q: %d, expected %d", origin, host, w.Code, want)
			}
		}
	}
}

// A request that no browser sends is refused like any other: without a Host, with two, with the host in the first line, or as
// the preface of another protocol.
func TestRawRequests(t *testing.T) {
	h := newHandler(t)
	bearer := bearerOf(t, h)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	rest := "Authorization: Bearer " + bearer + "\r\nConnection: close\r\n\r\n"
	for request, want := range map[string]string{
		"GET /api/summary HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + rest:                                             "200",
		"GET /api/summary HTTP/1.0\r\n" + rest:                                                                     "421",
		"GET /api/summary HTTP/1.1\r\n" + rest:                                                                     "400",
		"GET /api/summary HTTP/1.1\r\nHost:\r\n" + rest:                                                            "421",
		"GET /api/summary HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nHost: evil.example\r\n" + rest:                       "400",
		"GET http://evil.example/api/summary HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + rest:                          "421",
		"GET http://evil.example@127.0.0.1:8081/api/summary HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + rest:           "421",
		"GET /api/builds HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + rest: "403",
		"CONNECT 127.0.0.1:8080 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + rest:                                       "4",
	} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Errorf("%.80q: %v", request, err)
		}
		conn.Close()
		if _, status, _ := strings.Cut(string(answer), " "); !strings.HasPrefix(status, want) {
			t.Errorf("%.80q: %s, expected %s", request, status, want)
		}
	}
}
