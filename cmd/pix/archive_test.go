package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pix/internal/realnix"
	"pix/wire"
)

// narOf implements the script command "nar FILE TOKEN...", which writes an archive, valid or not. A token that
// begins with = is written as a number, any other as a string, also the contents of a file.
func narOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: nar FILE TOKEN...")
	}
	var b []byte
	for _, token := range args[1:] {
		number, isNumber := strings.CutPrefix(token, "=")
		if !isNumber {
			b = wire.AppendString(b, token)
			continue
		}
		n, err := strconv.ParseUint(number, 10, 64)
		ts.Check(err)
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}

// oddTree implements the script command "oddtree [-utf8] DIR", which creates a directory with all kinds of nodes
// and with unusual names. With -utf8 all names are valid UTF-8.
func oddTree(ts *testscript.TestScript, neg bool, args []string) {
	utf8 := len(args) == 2 && args[0] == "-utf8"
	if utf8 {
		args = args[1:]
	}
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oddtree [-utf8] DIR")
	}
	dir := ts.MkAbs(args[0])
	files := map[string]string{
		"empty": "", "one": "x", "seven": "1234567", "eight": "12345678", "large": strings.Repeat("0123456789", 200_000),
		"with space": "", "line\nfeed": "", strings.Repeat("n", 255): "long name", "a.b": "", "a/b": "", "é": "", "quote\"\\": "",
		"d/e/e/p/" + strings.Repeat("d/", 40) + "file": "",
	}
	if !utf8 {
		files["\xff\xfe"] = "not text"
	}
	for name, contents := range files {
		ts.Check(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777))
		ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o666))
	}
	ts.Check(os.Chmod(filepath.Join(dir, "seven"), 0o755))
	ts.Check(os.Mkdir(filepath.Join(dir, "nothing"), 0o777))
	for name, target := range map[string]string{
		"absolute": "/etc/passwd", "dangling": "no/such/file", "loop": "loop", "up": "..", "to-dir": "a", "long": strings.Repeat("t", 4000),
	} {
		ts.Check(os.Symlink(target, filepath.Join(dir, name)))
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	ts.Check(err)
	ts.Check(sparse.Truncate(3 << 20))
	ts.Check(sparse.Close())
}

// nixCommand implements the script command "nix [< FILE] COMMAND...", which runs a command in the world of the
// daemon. Its /tmp is $NIXTMP.
func nixCommand(ts *testscript.TestScript, neg bool, args []string) {
	var stdin io.Reader
	if len(args) > 2 && args[0] == "<" {
		f, err := os.Open(ts.MkAbs(args[1]))
		ts.Check(err)
		defer f.Close()
		stdin, args = f, args[2:]
	}
	d := ts.Value(daemonKey{}).(*realnix.Daemon)
	cmd := d.Command(context.Background(), args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, ts.Stdout(), io.MultiWriter(ts.Stderr(), &stderr)
	if err := cmd.Run(); (err != nil) != neg {
		ts.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
}

// halfAnArchive returns the beginning of the archive of a directory with a file of this size. The archive ends
// after some bytes of the file.
func halfAnArchive(size uint64, present int) []byte {
	var b []byte
	for _, s := range strings.Fields("nix-archive-1 ( type directory entry ( name file node ( type regular contents") {
		b = wire.AppendString(b, s)
	}
	return append(binary.LittleEndian.AppendUint64(b, size), make([]byte, present)...)
}

// checkInterrupt starts pix, waits until ready returns true, interrupts pix, and checks that it exits with 130.
func checkInterrupt(t *testing.T, ready func() bool, cmd *exec.Cmd) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("pix did not start to work: %s", stderr.Bytes())
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("pix did not exit")
	}
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || stderr.String() != "pix: interrupted\n" {
		t.Errorf("exit code %d, standard error: %s", code, stderr.Bytes())
	}
}

// A restore that is interrupted while it waits for standard input leaves nothing behind.
func TestRestoreInterrupted(t *testing.T) {
	dir := t.TempDir()
	stdin, feed := pipe(t)
	if _, err := feed.Write(halfAnArchive(1000, 500)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("pix", "nar-restore", filepath.Join(dir, "it"))
	cmd.Stdin = stdin
	half := func() bool { all, _ := filepath.Glob(filepath.Join(dir, ".nar-*", "file")); return len(all) > 0 }
	checkInterrupt(t, half, cmd)
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// Verbs can be interrupted while they are blocked in a write to a full pipe or in a read.
func TestStuckInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, make([]byte, 4<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"nar-dump", file},
		{"nar-ls", "-"},
		{"nar-cat", "-", "/x"},
		{"hash-path", "--stdin"},
		{"narinfo-verify", "--trusted-public-keys", "", "-"},
	} {
		t.Run(args[0], func(t *testing.T) {
			stdin, feed := pipe(t)
			out, stdout := pipe(t)
			cmd := exec.Command("pix", args...)
			cmd.Stdin, cmd.Stdout = stdin, stdout
			var started atomic.Bool
			go func() {
				if args[0] == "nar-dump" {
					out.Read(make([]byte, 1))
				} else {
					feed.Write(halfAnArchive(1<<20, 200<<10)) // more than a pipe buffers
				}
				started.Store(true)
			}()
			checkInterrupt(t, started.Load, cmd)
		})
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// A restore into a directory without write permission is an error.
func TestRestoreReadOnly(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write to every directory")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	cmd := exec.Command("pix", "nar-restore", filepath.Join(dir, "it"))
	cmd.Stdin = bytes.NewReader(halfAnArchive(1000, 500))
	out, err := cmd.CombinedOutput()
	if want := "pix: writing '" + filepath.Join(dir, "it") + "': permission denied\n"; err == nil || string(out) != want {
		t.Errorf("error %v, output: %s", err, out)
	}
}
