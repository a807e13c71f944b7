package buildlogs

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"pix/internal/flock"
	"pix/storepath"
)

const drv = storepath.Path("/nix/store/00000000000000000000000000000000-x.drv")

// bzip2Text is "hello\n", compressed by bzip2(1).
const bzip2Text = "425a6839314159265359c1c080e2000001410000100244a00030cd00c3462997177245385090c1c080e2"

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	var compressed bytes.Buffer
	w, err := zstd.NewWriter(&compressed)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "hello\n")
	w.Close()
	bzip2, err := hex.DecodeString(bzip2Text)
	if err != nil {
		t.Fatal(err)
	}
	base := drv.Base()
	for name, text := range map[string]string{
		base[:2] + "/" + base[2:]:          "hello\n",
		base[:2] + "/" + base[2:] + ".bz2": string(bzip2),
		base[:2] + "/" + base[2:] + ".zst": compressed.String(),
		base:                               "hello\n",
		base + ".bz2":                      string(bzip2),
	} {
		dir := t.TempDir()
		if exists, err := Exists(dir, drv); exists || err != nil {
			t.Errorf("%v, %v", exists, err)
		}
		write(t, filepath.Join(dir, "drvs", name), text)
		log, err := Open(dir, drv)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(log)
		if string(got) != "hello\n" || err != nil || log.Close() != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if exists, err := Exists(dir, drv); !exists || err != nil {
			t.Errorf("%s: %v, %v", name, exists, err)
		}
	}
	dir := t.TempDir()
	if _, err := Open(dir, drv); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	name := filepath.Join(dir, "drvs", base)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), syscall.Mkfifo(name, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, drv); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a named pipe: %v", err)
	}
}

// A reader of a running build's log gets the lines that are written later, also to a file that replaces the first one.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	base := drv.Base()
	name := filepath.Join(dir, "drvs", base[:2], base[2:])
	var runs atomic.Bool
	runs.Store(true)
	running := func(context.Context) (bool, error) { return runs.Load(), nil }
	go func() {
		time.Sleep(30 * time.Millisecond)
		write(t, name, "one\n")
	}()
	log, err := Follow(t.Context(), dir, drv, running)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(log, got); string(got) != want || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	expect("one\n")
	go func() {
		time.Sleep(30 * time.Millisecond)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return
		}
		f.WriteString("two\n")
		f.Close()
	}()
	expect("two\n")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	write(t, name, "again\n")
	expect("again\n")
	write(t, name, "x\n") // truncates the file
	expect("x\n")
	runs.Store(false)
	if n, err := log.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestFollowEnds(t *testing.T) {
	running := func(context.Context) (bool, error) { return true, nil }
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("cancelled")
	time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
	if _, err := Follow(ctx, t.TempDir(), drv, running); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	unknown := errors.New("cannot be determined")
	if _, err := Follow(t.Context(), t.TempDir(), drv, func(context.Context) (bool, error) { return false, unknown }); !errors.Is(err, unknown) {
		t.Errorf("got %v", err)
	}
	if _, err := Follow(t.Context(), t.TempDir(), drv, func(context.Context) (bool, error) { return false, nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLocked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows the locks of other processes")
	}
	name := filepath.Join(t.TempDir(), "x.lock")
	check := func(want bool) {
		t.Helper()
		if got, err := Locked(name+"y", name); got != want || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	check(false)
	f, err := flock.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	check(false)
	if ok, err := flock.Try(f.File, flock.Exclusive); !ok || err != nil {
		t.Fatal(ok, err)
	}
	check(true)
	f.Close()
	check(false)
}
