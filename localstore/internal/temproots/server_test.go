package temproots

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A server answers every line, closes the connection after a line without an end, and lets no client wait when it
// closes.
func TestRootsServer(t *testing.T) {
	s := newState(t)
	// The name is longer than a socket name may be.
	s.Dir = filepath.Join(s.Dir, strings.Repeat("d", 120))
	server, err := serve(s)
	if err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		c, err := dial(t.Context(), s.socket())
		if err != nil || c == nil {
			t.Fatal(c, err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(30 * time.Second))
		return c.Conn
	}
	conn := dial()
	var answer [3]byte
	if _, err := conn.Write([]byte("garbage\n\n" + string(somePath(t, 1)) + ".lock\n")); err != nil {
		t.Fatal(err)
	}
	for range answer {
		if n, err := conn.Read(answer[:1]); n != 1 || err != nil || answer[0] != '1' {
			t.Fatalf("answer %q, %v", answer[:n], err)
		}
	}
	if !server.roots[somePath(t, 1).HashPart()] || len(server.roots) != 1 {
		t.Errorf("roots %v", server.roots)
	}
	flood := dial()
	if _, err := flood.Write(bytes.Repeat([]byte("x"), maxRootLine)); err != nil {
		t.Fatal(err)
	}
	if n, err := flood.Read(answer[:]); n != 0 || err == nil {
		t.Errorf("a line without an end: %q, %v", answer[:n], err)
	}
	server.choose(func([]string) []string { return []string{somePath(t, 2).HashPart()} })
	waiting := dial()
	if _, err := waiting.Write([]byte(string(somePath(t, 2)) + "\n")); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- server.close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server did not close")
	}
	if n, err := waiting.Read(answer[:]); n != 0 || err == nil {
		t.Errorf("after Close: %q, %v", answer[:n], err)
	}
}

// A client that sends requests and reads no answers does not delay the end either.
func TestRootsServerUnread(t *testing.T) {
	s := newState(t)
	server, err := serve(s)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(t.Context(), s.socket())
	if err != nil || c == nil {
		t.Fatal(c, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := c.Write(bytes.Repeat([]byte(string(somePath(t, 1))+"\n"), 1<<20)); err == nil {
		t.Fatal("all requests were read although no answer was")
	}
	closed := make(chan error)
	go func() { closed <- server.close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server did not close")
	}
}

// An object and its lock file are deleted separately, and have the same hash part: a process that makes the object a
// root waits for both.
func TestRootsServerWaitsForAll(t *testing.T) {
	s := newState(t)
	server, err := serve(s)
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	hashPart := somePath(t, 1).HashPart()
	server.choose(func([]string) []string { return []string{hashPart, hashPart} })
	c, err := dial(t.Context(), s.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(string(somePath(t, 1)) + "\n")); err != nil {
		t.Fatal(err)
	}
	server.done([]string{hashPart})
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes, %v, while one of two deletions continues", n, err)
	}
	server.done([]string{hashPart})
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
}
