package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pix/activity"
	"pix/closure"
	"pix/cmd/pix/internal/live"
	"pix/internal/modes"
	"pix/store"
	"pix/storepath"
)

const (
	maxTimes     = 5       // the newest durations of a package
	maxTimeNames = 4 << 10 // the packages in a file that were built last
	maxTimesFile = 2 << 20 // bytes
	maxBuildTime = 30 * 24 * time.Hour
)

// buildTimes are the durations of earlier builds, by the name of the package without the version. They are kept in a file
// with a line for each package: its name, and the durations in milliseconds from the oldest to the newest. The lines are
// in the order of the newest builds.
type buildTimes struct {
	files []string // all are read, and the first that can be written is replaced

	mu    sync.Mutex
	known map[string][]time.Duration
	added []timedBuild
}

// A timedBuild is a build of this process.
type timedBuild struct {
	pkg  string
	took time.Duration
}

// useBuildTimes makes the progress of builds show estimates, and returns a context whose builds are recorded. The caller
// must call save after the last build.
func (a *app) useBuildTimes(ctx context.Context, s store.Store) (_ context.Context, save func()) {
	dir, err := a.logDir(ctx, s)
	if err != nil { // interrupted
		return ctx, func() {}
	}
	t := loadBuildTimes(a.buildTimesFiles(dir))
	if view := a.progress.view.Load(); view != nil {
		view.UseEstimates(t)
		return ctx, t.save
	}
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx, func() {}
	}
	r := &timeRecorder{handler: h, state: live.NewState()}
	r.state.UseEstimates(t)
	return activity.WithHandler(ctx, r), t.save
}

// buildTimesFiles returns the names of the files with times: one in the log directory of a store, which may be "", and one
// in the state directory of the user, who may lack the right to write to the first.
func (a *app) buildTimesFiles(logDir string) (files []string) {
	if logDir != "" {
		files = append(files, filepath.Join(logDir, "build-times"))
	}
	if state := a.stateHome(); state != "" {
		files = append(files, filepath.Join(state, "pix", "build-times"))
	}
	return files
}

// stateHome returns the directory of the user's state, or "" if the environment does not name one.
func (a *app) stateHome() string {
	state := a.getenv("XDG_STATE_HOME")
	if home := a.getenv("HOME"); state == "" && home != "" {
		state = filepath.Join(home, ".local/state")
	}
	if !filepath.IsAbs(state) {
		return ""
	}
	return state
}

// A timeRecorder passes events on, and finds the durations of builds in them.
type timeRecorder struct {
	handler activity.Handler

	mu    sync.Mutex // verbs run many queries at once
	state *live.State
}

// HandleEvent implements [activity.Handler].
func (r *timeRecorder) HandleEvent(e activity.Event) {
	r.mu.Lock()
	now := time.Now()
	r.state.Handle(e, now)
	r.state.Messages(now) // the other handler prints them
	r.mu.Unlock()
	r.handler.HandleEvent(e)
}

// loadBuildTimes reads files. It ignores lines that it cannot read, and files that are missing.
func loadBuildTimes(files []string) *buildTimes {
	t := &buildTimes{files: files, known: make(map[string][]time.Duration)}
	for _, file := range slices.Backward(files) { // the first counts
		for _, l := range readTimes(file) {
			t.known[l.pkg] = l.times
		}
	}
	return t
}

// A timesLine is a line of a file with times.
type timesLine struct {
	pkg   string
	times []time.Duration
}

func readTimes(file string) (lines []timesLine) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a named pipe would wait for ever
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTimesFile))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || !isPackage(words[0]) || len(lines) == maxTimeNames {
			continue
		}
		l := timesLine{pkg: words[0]}
		for _, word := range words[1:min(len(words), 1+maxTimes)] {
			n, err := strconv.ParseInt(word, 10, 64)
			if took := time.Duration(n) * time.Millisecond; err == nil && 0 < n && n < maxBuildTime.Milliseconds() {
				l.times = append(l.times, took)
			}
		}
		if len(l.times) > 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

func isPackage(name string) bool { return storepath.CheckName(name) == nil }

// packageOf returns the package of a build, without the version.
func packageOf(name string) string {
	pkg, _ := closure.SplitName(name)
	return pkg
}

// Estimate implements [live.Estimator] with the median of the last builds.
func (t *buildTimes) Estimate(name string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	times := slices.Sorted(slices.Values(t.known[packageOf(name)]))
	if len(times) == 0 {
		return 0
	}
	return times[len(times)/2]
}

// Record implements [live.Estimator].
func (t *buildTimes) Record(name string, took time.Duration) {
	pkg := packageOf(name)
	if !isPackage(pkg) || took < 0 || took >= maxBuildTime {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.added = append(t.added, timedBuild{pkg, max(took, time.Millisecond)})
	t.added = t.added[max(0, len(t.added)-maxTimeNames):]
}

// save adds the builds of this process to the first file that can be written. Estimates are no result of the command, so an
// error has no effect. Another process that saves at the same moment may lose its times.
func (t *buildTimes) save() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.added) == 0 {
		return
	}
	for i, file := range t.files {
		if i == len(t.files)-1 && filepath.Base(filepath.Dir(file)) == "pix" { // the user's directory need not exist
			if modes.MkdirAll(filepath.Dir(file)) != nil {
				continue
			}
		}
		if writeTimes(file, merge(readTimes(file), t.added)) == nil {
			break
		}
	}
	t.added = nil
}

// merge adds builds to lines, and leaves out the oldest lines if there are too many.
func merge(lines []timesLine, added []timedBuild) []timesLine {
	byName := make(map[string]timesLine)
	age := make(map[string]int) // larger is younger
	for i, l := range lines {
		byName[l.pkg], age[l.pkg] = l, i
	}
	for i, b := range added {
		l := byName[b.pkg]
		l.pkg = b.pkg
		l.times = append(l.times, b.took)
		l.times = l.times[max(0, len(l.times)-maxTimes):]
		byName[b.pkg], age[b.pkg] = l, len(lines)+i
	}
	merged := slices.SortedFunc(maps.Values(byName), func(a, b timesLine) int { return cmp.Compare(age[a.pkg], age[b.pkg]) })
	return merged[max(0, len(merged)-maxTimeNames):]
}

// writeTimes replaces a file in one step, so that a reader never gets a part.
func writeTimes(file string, lines []timesLine) error {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.pkg)
		for _, took := range l.times {
			b.WriteString(" " + strconv.FormatInt(took.Milliseconds(), 10))
		}
		b.WriteByte('\n')
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".build-times-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	_, err = f.WriteString(b.String())
	if err = errors.Join(err, f.Chmod(modes.File), f.Close()); err != nil {
		return err
	}
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fs.ErrExist)
	}
	return os.Rename(f.Name(), file)
}
