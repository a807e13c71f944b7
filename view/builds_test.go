package view_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

// A browser opens 6 connections to a host, and a page with the builds keeps one of them. So some of 6 such pages are refused, and
// the others leave a connection for the rest. A stream ends with its page, and makes room for another one.
func TestManyPagesWithBuilds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connections = 6
		s := newSmallStore(t)
		h, _ := newClient(t, s, s.app)
		bearer := bearerOf(t, h)
		open := func(ctx context.Context, codes chan<- int) {
			r := httptest.NewRequestWithContext(ctx, "GET", origin+"/api/builds", nil)
			r.Header.Set("Authorization", "Bearer "+bearer)
			r.Header.Set("Origin", origin)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			codes <- w.Code
		}
		for range 2 {
			ctx, leave := context.WithCancel(t.Context())
			codes := make(chan int, connections)
			for range connections {
				go open(ctx, codes)
			}
			synctest.Wait()
			refused := len(codes)
			if refused < 2 || refused == connections {
				t.Errorf("%d of %d streams are refused", refused, connections)
			}
			for range refused {
				if code := <-codes; code != http.StatusServiceUnavailable {
					t.Errorf("a stream that is refused: %d", code)
				}
			}
			leave()
			synctest.Wait()
			if ended := len(codes); ended != connections-refused {
				t.Errorf("%d streams ended with their pages, and %d are refused", ended, refused)
			}
		}
	})
}
