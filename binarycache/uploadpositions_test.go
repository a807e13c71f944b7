package binarycache_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
)

// A rawServer is a cache that misbehaves in the upload of an archive at a byte of the request or of the response. It records
// the narinfos that it gets.
type rawServer struct {
	size   int    // of the archive's contents
	read   int64  // bytes of the body that it reads; -1 reads the whole body
	answer string // sent after that
	stall  bool   // afterwards, it sends and reads nothing more; otherwise it closes the connection

	ended    chan struct{}
	stalled  chan struct{} // gets an element when the server stalls
	mu       sync.Mutex
	narInfos int
}

const (
	notFound  = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
	created   = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
	cacheInfo = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\nStoreDir: /nix/store\n"
)

// serve answers the requests of one connection.
func (s *rawServer) serve(c net.Conn) {
	defer c.Close()
	src := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(src)
		if err != nil {
			return
		}
		isArchive := r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/nar/")
		if isArchive {
			s.misbehave(c, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		answer := notFound
		switch {
		case r.Method == http.MethodGet && r.URL.Path == "/nix-cache-info":
			answer = cacheInfo
		case r.Method == http.MethodHead && r.URL.Path == "/nix-cache-info":
			answer = strings.TrimSuffix(cacheInfo, "StoreDir: /nix/store\n")
		case r.Method == http.MethodPut:
			s.mu.Lock()
			s.narInfos++
			s.mu.Unlock()
			answer = created
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// misbehave answers the upload of an archive.
func (s *rawServer) misbehave(c net.Conn, r *http.Request) {
	if r.Header.Get("Expect") != "" && s.read != 0 {
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if s.read < 0 {
		io.Copy(io.Discard, r.Body)
	} else {
		io.CopyN(io.Discard, r.Body, s.read)
	}
	io.WriteString(c, s.answer)
	if s.stall {
		s.stalled <- struct{}{}
		<-s.ended
	}
}

// inBubble opens the server as a cache, in a bubble, and calls test. The bubble reports goroutines that remain.
func (s *rawServer) inBubble(t *testing.T, test func(t *testing.T, c *binarycache.Store)) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{conns: make(chan net.Conn), closed: make(chan struct{})}
		s.ended, s.stalled = make(chan struct{}), make(chan struct{}, 100)
		go func() {
			for {
				c, err := n.Accept()
				if err != nil {
					return
				}
				go s.serve(c)
			}
		}()
		transport := &http.Transport{DialContext: n.dial, ExpectContinueTimeout: time.Second}
		defer func() { transport.CloseIdleConnections(); close(s.ended); n.Close() }()
		c, err := binarycache.Open(t.Context(), "http://me:secret@cache.example", &binarycache.Options{
			Create: true, HTTP: binarycache.HTTPOptions{Client: &http.Client{Transport: transport}, Tries: 2},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		test(t, c)
	})
}

// misbehaviours returns servers that stop at each byte of the answer, and at some of the body, and the ones that answer before
// they have read the body.
func misbehaviours() map[string]*rawServer {
	servers := make(map[string]*rawServer)
	for _, stall := range []bool{true, false} {
		for n := range len(created) {
			servers[fmt.Sprintf("stalls %v after %d bytes of the answer", stall, n)] = &rawServer{size: 1000, read: -1, answer: created[:n], stall: stall}
		}
		for _, n := range []int64{0, 1, 64 << 10, 1 << 20} {
			for _, answer := range []string{"", created, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 400 No\r\nContent-Length: 99999999\r\n\r\nno", "HTTP/1.1 100 Continue\r\n\r\n"} {
				servers[fmt.Sprintf("stalls %v after %d bytes of the body, answers %.13q", stall, n, answer)] = &rawServer{size: 1<<20 + 256<<10, read: n, answer: answer, stall: stall}
			}
		}
	}
	return servers
}

// A server that stops, or answers early, at any position makes the upload fail in bounded time, and gets no narinfo.
func TestUploadPositions(t *testing.T) {
	for name, s := range misbehaviours() {
		t.Run(name, func(t *testing.T) {
			s.inBubble(t, func(t *testing.T, c *binarycache.Store) {
				start := time.Now()
				err := putOne(t, c, s.size)
				if err == nil || strings.Contains(err.Error(), "secret") {
					t.Errorf("%v", err)
				}
				if took := time.Since(start); took > time.Hour {
					t.Errorf("it took %v", took)
				}
				if s.narInfos > 0 {
					t.Error("the server got the narinfo")
				}
			})
		})
	}
}

// The end of a context ends an upload at any position.
func TestUploadCancelled(t *testing.T) {
	for name, s := range misbehaviours() {
		if !s.stall {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s.inBubble(t, func(t *testing.T, c *binarycache.Store) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error)
				go func() { ended <- putOneIn(ctx, c, s.size) }()
				<-s.stalled
				start := time.Now()
				cancel()
				// The status of an early answer may arrive before the end of the context.
				if err := <-ended; err == nil || time.Since(start) > time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}
