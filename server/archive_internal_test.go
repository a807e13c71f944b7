package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// An archive that is written in pieces and files of any size is sent completely.
func TestArchiveSender(t *testing.T) {
	name := t.TempDir() + "/file"
	for _, sizes := range [][]int{{0}, {1}, {16}, {17}, {15, 1}, {8, 8, 8}, {1, 100, 3, 16, 2}, {100, 5, 5, 5, 5}} {
		for file := range 40 {
			t.Run(fmt.Sprint(sizes, file), func(t *testing.T) {
				ours, theirs := net.Pipe()
				received := make(chan []byte, 1)
				go func() {
					b, _ := io.ReadAll(theirs)
					received <- b
				}()
				var o outbox
				o.init(ours, time.Minute)
				o.guard = func(f func()) { f() }
				o.account = newMemory(64<<20).requests.open(owner{uid: 1, known: true}, new(conn))
				s := &archiveSender{out: &o}
				var want []byte
				next := func(n int) []byte {
					p := bytes.Repeat([]byte{byte(len(want) + 1)}, n)
					want = append(want, p...)
					return p
				}
				for i, size := range sizes {
					if i == len(sizes)/2 {
						if err := os.WriteFile(name, next(file), 0o666); err != nil {
							t.Fatal(err)
						}
						f, err := os.Open(name)
						if err != nil {
							t.Fatal(err)
						}
						defer f.Close()
						if n, err := s.WriteFile(f, int64(file)); n != int64(file) || err != nil {
							t.Fatal(n, err)
						}
					}
					if n, err := s.Write(next(size)); n != size || err != nil {
						t.Fatal(n, err)
					}
				}
				if err := s.flush(false); err != nil {
					t.Fatal(err)
				}
				o.waitWritten()
				ours.Close()
				if got := <-received; !bytes.Equal(got, want) {
					t.Errorf("received %v instead of %v", got, want)
				}
			})
		}
	}
}
