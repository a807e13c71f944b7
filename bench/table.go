package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A result is a measured row. The first contender is pix.
type result struct {
	row
	work       string
	contenders []figures
	missing    []string
}

// line returns the result in one line, for the progress.
func (r *result) line() string {
	var b strings.Builder
	b.WriteString(r.name)
	if r.work != "" {
		fmt.Fprintf(&b, " (%s)", r.work)
	}
	for _, f := range r.contenders {
		fmt.Fprintf(&b, "; %s %s (%s) %s", f.name, seconds(f.median()), seconds(median(f.cpu)), megabytes(f.peak))
	}
	for _, reason := range r.missing {
		b.WriteString("; not measured: " + reason)
	}
	return b.String()
}

// markdown returns the page with the table.
func markdown(o *options, results []result, before, after string, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured in %v on %s, with at most %d rounds of each contender and the %s sizes. The load average was %s at the beginning and %s at the end.\n\n",
		took.Round(time.Second), machine(), o.rounds, map[bool]string{false: "small", true: "full"}[o.full], before, after)
	b.WriteString("| work | rounds | pix | memory | peer | its time | its memory | peer ÷ pix | processor time, peer ÷ pix |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		r.writeRows(&b)
	}
	var missing strings.Builder
	for _, r := range results {
		for _, reason := range r.missing {
			fmt.Fprintf(&missing, "- %s: %s\n", r.name, strings.ReplaceAll(reason, "\n", " "))
		}
	}
	if missing.Len() > 0 {
		b.WriteString("\nNot measured:\n\n" + missing.String())
	}
	return b.String()
}

// writeRows writes a line for each peer.
func (r *result) writeRows(b *strings.Builder) {
	work := r.name
	if r.work != "" {
		work += ": " + r.work
	}
	if len(r.contenders) == 0 {
		fmt.Fprintf(b, "| %s | | | | | | | | |\n", work)
		return
	}
	pix, peers := r.contenders[0], r.contenders[1:]
	if len(peers) == 0 {
		fmt.Fprintf(b, "| %s | %d | %s | %s | | | | | |\n", work, len(pix.elapsed), seconds(pix.median()), megabytes(pix.peak))
	}
	for _, peer := range peers {
		fmt.Fprintf(b, "| %s | %d | %s | %s | %s | %s | %s | %.2f | %s |\n", work, len(pix.elapsed), seconds(pix.median()), megabytes(pix.peak),
			peer.name, seconds(peer.median()), megabytes(peer.peak), peer.median().Seconds()/pix.median().Seconds(), processorRatio(pix, peer))
	}
}

// processorRatio returns the ratio of the processor times, or "" if one is unknown.
func processorRatio(pix, peer figures) string {
	a, b := median(pix.cpu), median(peer.cpu)
	if a == 0 || b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", b.Seconds()/a.Seconds())
}

// seconds returns a duration with three digits.
func seconds(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 1:
		return fmt.Sprintf("%.3g ms", s*1000)
	default:
		return fmt.Sprintf("%.3g s", s)
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+500_000)/1_000_000) }

// machine describes the processors, the memory and the kernel.
func machine() string {
	return fmt.Sprintf("%d processors (%s), %s of memory, Linux %s, %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"),
		memory(), kernel(), runtime.Version())
}

// field returns the first value of a key in a file with lines "key : value".
func field(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// memory returns the size of the machine's memory.
func memory() string {
	var kilobytes int64
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kilobytes); err != nil {
		return "unknown size"
	}
	return fmt.Sprintf("%.0f GB", float64(kilobytes)/1e6)
}

// kernel returns the version of Linux, without the suffix of its builder.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(text)), "-")
	return version
}

// loadAverage returns the number of running processes in the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	load, _, _ := strings.Cut(string(text), " ")
	return load
}
