package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkQuestions measures each command of the questions in a process of its own, with a store in a directory and with a daemon. The
// store has two closures of 10,000 packages, one for each version of a library. It needs PIX_LONG=1, because making the store takes a
// minute.
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
						if err := cmd.Run(); cmd.ProcessState == nil { // an exit code of 1 is an answer
							b.Fatal(err)
						}
						cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
					}
					b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
				})
			}
		}
	}
}
