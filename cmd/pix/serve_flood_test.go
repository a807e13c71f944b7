package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// floodSize returns the size of an attack: it is larger in long tests.
func floodSize(short, long int) int {
	if os.Getenv("PIX_LONG") != "" {
		return long
	}
	return short
}

// residentSize returns the resident memory of a process in bytes, or 0 on systems without /proc.
func residentSize(pid int) (kilobytes int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10
}

// dialMany opens n connections, and each sends one of the texts.
func dialMany(t *testing.T, address string, n int, texts ...string) {
	t.Helper()
	var clients sync.WaitGroup
	for first := range 8 {
		clients.Go(func() {
			for i := first; i < n; i += 8 {
				nc, err := net.Dial("tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { nc.Close() })
				io.WriteString(nc, texts[i/8%len(texts)]) // the server may have closed it
			}
		})
	}
	clients.Wait()
}

// Clients that are idle, send a request or its body slowly, or reset streams, do not keep others away. The memory stays bounded.
func TestServeFloods(t *testing.T) {
	n := floodSize(120, 10_000)
	store := filepath.Join(t.TempDir(), "store")
	path := pixOutput(t, "--store", store, "add-text", "hello", "hello world")
	s := startServe(t, 1, "--store", store, "--listen", "127.0.0.1:0", "--max-connections", fmt.Sprint(n/2), "--accept-uploads", "--grace", "0s")
	address := s.addresses[0]
	served := func(after string) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		resp, err := client.Get("http://" + address + "/" + filepath.Base(path)[:32] + ".narinfo")
		if err != nil {
			t.Errorf("after %s: %v", after, err)
			return
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("after %s: %s", after, resp.Status)
		}
		if size := residentSize(s.cmd.Process.Pid); size > 300<<20 {
			t.Errorf("after %s, the server has %d MB", after, size>>20)
		} else {
			t.Logf("after %s, the server has %d MB", after, size>>20)
		}
	}
	served("the start")
	dialMany(t, address, n, "", "GET /nix-cache-info HTTP/1.1\r\nHost: x\r\n\r\n", "GET /nix-cache-info HTTP/1.1\r\nHost: x\r\nX: ")
	served("idle clients and slow headers")
	dialMany(t, address, n/4, "PUT /nix-cache-info HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
	served("slow bodies")
	resetStreams(t, address, 100*n)
	served("resets of streams")
}

// resetStreams opens streams of HTTP/2 and resets each at once, until the server gives up.
func resetStreams(t *testing.T, address string, n int) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	go io.Copy(io.Discard, nc)
	var b bytes.Buffer
	b.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	frame := func(typ, flags byte, stream uint32, payload []byte) {
		b.Write([]byte{0, byte(len(payload) >> 8), byte(len(payload)), typ, flags})
		binary.Write(&b, binary.BigEndian, stream)
		b.Write(payload)
	}
	const headers, reset, settings, endOfBoth = 1, 3, 4, 5
	frame(settings, 0, 0, nil)
	for i := range n {
		stream := uint32(2*i + 1)
		frame(headers, endOfBoth, stream, []byte{0x82, 0x84, 0x86, 0x41, 1, 'x'}) // GET / http, with the authority x
		frame(reset, 0, stream, []byte{0, 0, 0, 8})
	}
	nc.Write(b.Bytes()) // fails when the server closes the connection
}
