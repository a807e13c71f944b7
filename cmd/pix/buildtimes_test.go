package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestBuildTimes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "state/pix/build-times")
	files := []string{filepath.Join(dir, "missing/build-times"), file}
	times := loadBuildTimes(files)
	if got := times.Estimate("hello-2.12"); got != 0 {
		t.Errorf("got %v", got)
	}
	for i, name := range []string{"hello-2.12", "hello-2.13", "other", "hello-2.13.1"} {
		times.Record(name, time.Duration(i+1)*time.Second)
	}
	times.Record("../x y\n", time.Second)
	times.Record("hello", -1)
	times.save()
	text, err := os.ReadFile(file)
	if want := "other 3000\nhello 1000 2000 4000\n"; string(text) != want || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	if got := loadBuildTimes(files).Estimate("hello-3"); got != 2*time.Second {
		t.Errorf("got %v", got)
	}
	for range 10 {
		times.Record("hello-2", 9*time.Second)
	}
	times.save()
	if got := loadBuildTimes(files).Estimate("hello-3"); got != 9*time.Second {
		t.Errorf("got %v", got)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); len(left) != 1 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Garbage in the file is ignored, and the file stays small.
func TestBuildTimesGarbage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "build-times")
	garbage := "\x00\xff\nhello\nhello x -1 0 99999999999999999999 1 2 3\n../x 1\ngood 5000 x\n" + strings.Repeat("x", maxTimesFile)
	if err := os.WriteFile(file, []byte(garbage), 0o644); err != nil {
		t.Fatal(err)
	}
	times := loadBuildTimes([]string{file})
	if times.Estimate("good-1") != 5*time.Second || times.Estimate("hello") != time.Millisecond || len(times.known) != 2 {
		t.Errorf("got %v", times.known)
	}
	for i := range 2 * maxTimeNames {
		times.Record(fmt.Sprintf("%s%d", strings.Repeat("n", 190), i), maxBuildTime-1)
	}
	times.save()
	lines := readTimes(file)
	if len(lines) != maxTimeNames || !strings.HasSuffix(lines[len(lines)-1].pkg, fmt.Sprint(2*maxTimeNames-1)) {
		t.Errorf("%d lines", len(lines))
	}
	if info, err := os.Stat(file); err != nil || info.Size() > maxTimesFile {
		t.Errorf("%v, %v", info, err)
	}

	pipe := filepath.Join(dir, "pipe")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o644), os.Symlink(file, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{pipe, filepath.Join(dir, "link"), dir, "/dev/null"} {
		times := loadBuildTimes([]string{file})
		times.Record("x", time.Second)
		times.save()
		if info, err := os.Lstat(file); err != nil || info.Mode().IsRegular() {
			t.Errorf("%s was replaced: %v", file, err)
		}
	}
}

func TestMergeTimes(t *testing.T) {
	lines := []timesLine{{"a", []time.Duration{1}}, {"b", []time.Duration{2}}}
	got := merge(lines, []timedBuild{{"a", 3}, {"c", 4}})
	want := []timesLine{{"b", []time.Duration{2}}, {"a", []time.Duration{1, 3}}, {"c", []time.Duration{4}}}
	if !slices.EqualFunc(got, want, func(a, b timesLine) bool { return a.pkg == b.pkg && slices.Equal(a.times, b.times) }) {
		t.Errorf("got %v", got)
	}
}
