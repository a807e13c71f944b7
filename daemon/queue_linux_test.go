package daemon_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/daemon"
)

// Dialling waits for a daemon with a short queue that accepts slowly.
func TestDialFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	first, err := (daemon.Unix{Path: path}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (daemon.Unix{Path: path}).Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("with a full queue: %v", err)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		if nfd, _, err := unix.Accept(fd); err == nil {
			unix.Close(nfd)
		}
	}()
	second, err := (daemon.Unix{Path: path}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
