package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkQuestions asks the questions about a closure of 10,000 packages that are built for each of two versions of a library: the time of each
// command in a process of its own, with a store in a directory and with a daemon. It needs PIX_LONG=1, because making the store takes
// a minute.
func BenchmarkQuestions(b *testing.B) {
	if os.Getenv("PIX_LONG") != "1" {
		b.Skip("needs PIX_LONG=1")
	}
	q := newQuestionStore(b, 10_000)
	q.serve()
	stores := map[string]string{"directory": "./store", "daemon": "unix://" + q.args["daemon"]}
	for _, kind := range []string{"directory", "daemon"} {
		var asked []string
		for _, g := range questionGroups {
			for _, c := range g.questions {
				if c.varies || slices.Contains(asked, c.command) {
					continue
				}
				asked = append(asked, c.command)
				b.Run(kind+"/"+strings.ReplaceAll(c.command, "/", "_"), func(b *testing.B) {
					args := append([]string{"--store", stores[kind]}, strings.Fields(q.fill(c.command, false))...)
					var cpu time.Duration
					for b.Loop() {
						cmd := exec.CommandContext(b.Context(), "pix", args...)
						cmd.Run() //nolint:errcheck // some answers are no
						cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
					}
					b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
				})
			}
		}
	}
}
