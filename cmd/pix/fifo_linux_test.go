package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A named pipe as FILE of a verb, or as a file of settings, does not keep it from ending: one SIGTERM ends the verb while it waits
// for a process that opens the pipe for writing, and while it reads from a process that writes nothing.
func TestNamedPipes(t *testing.T) {
	for i, args := range []string{
		"drv-show PIPE.drv", "drv-show --json-version 4 PIPE", "drv-hash PIPE.drv", "drv-diff PIPE.drv PIPE.drv", "drv-add PIPE",
		"explain PIPE.drv", "explain PIPE.drv^out", "explain --archive PIPE", "explain PIPE.nar", "explain PIPE.narinfo",
		"explain --signatures PIPE", "nar-ls PIPE", "nar-cat PIPE file", "hash-file PIPE", "store-path --mode flat PIPE", "add --mode flat PIPE",
		"NIX_USER_CONF_FILES=PIPE config", "NIX_CONFIG=include\tPIPE config", "NIX_CONFIG=secret-key-files\t=\tPIPE explain --signatures x.narinfo",
		"serve --key-file PIPE", "serve --tls-certificate PIPE --tls-key PIPE", "narinfo-sign --key-file PIPE FILE", "monitor PIPE",
	} {
		for _, silent := range []bool{false, true} {
			// The name has no #, which would begin a comment in NIX_CONFIG: it becomes a part of the name of the directory.
			t.Run(fmt.Sprintf("%d-%v", i, silent), func(t *testing.T) {
				t.Parallel()
				checkPipe(t, args, silent)
			})
		}
	}
}

// checkPipe starts a verb with a pipe, and sends SIGTERM when it waits. If silent is true, the pipe has a writer.
func checkPipe(t *testing.T, verb string, silent bool) {
	dir := t.TempDir()
	words := strings.Split(verb, " ")
	var pipe string
	for i, word := range words {
		if before, name, ok := strings.Cut(word, "PIPE"); ok {
			pipe, _, _ = strings.Cut(filepath.Join(dir, "PIPE"+name), "^")
			words[i] = before + filepath.Join(dir, "PIPE"+name)
		}
	}
	var settings []string
	if strings.HasPrefix(words[0], "NIX_") {
		settings, words = words[:1], words[1:]
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if silent {
		writer, err := os.OpenFile(pipe, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
	}
	cmd := exec.Command("pix", append([]string{"--store", filepath.Join(dir, "store")}, words...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "NIX_CONF_DIR="+dir)
	cmd.Env = append(cmd.Env, settings...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	timeout := time.NewTimer(2 * time.Minute)
	defer timeout.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !waitsForPipe(cmd.Process.Pid, pipe) {
		select {
		case err := <-ended:
			t.Fatalf("it ended with %v: %s", err, out.Bytes())
		case <-timeout.C:
			cmd.Process.Kill()
			t.Fatalf("it did not open the pipe: %v: %s", <-ended, out.Bytes())
		case <-poll.C:
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
			t.Errorf("it ended with %v: %s", err, out.Bytes())
		}
	case <-timeout.C:
		cmd.Process.Kill()
		t.Errorf("SIGTERM did not end it: %v: %s", <-ended, out.Bytes())
	}
}

// waitsForPipe reports whether a process has opened a pipe, or waits for a writer to open it.
func waitsForPipe(pid int, pipe string) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	files, _ := filepath.Glob(proc + "fd/*")
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && target == pipe {
			return true
		}
	}
	tasks, _ := filepath.Glob(proc + "task/*/wchan")
	for _, task := range tasks {
		if b, err := os.ReadFile(task); err == nil && string(b) == "wait_for_partner" {
			return true
		}
	}
	return false
}
