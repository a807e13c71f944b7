package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// taskArg is the argument with which this program runs a task.
const taskArg = "run-task"

// tasks are the functions of libraries that are measured in processes of their own.
var tasks = map[string]func(args []string) (time.Duration, error){
	"pix-parse":       pixParse,
	"gonix-parse":     gonixParse,
	"pix-print":       pixPrint,
	"gonix-print":     gonixPrint,
	"pix-narinfo":     pixNarinfo,
	"gonix-narinfo":   gonixNarinfo,
	"pixpkgs":         derivePackages,
	"instantiate":     instantiatePackages,
	"cache-clients":   runCacheClients,
	"prepared-server": runPreparedServer,
	"lone":            loneQueries,
	"pipelined":       pipelinedQueries,
	"register":        registerTexts,
}

// taskCommand returns a command that runs a task.
func taskCommand(args ...string) *exec.Cmd {
	self, err := os.Executable()
	cmd := exec.Command(self, append([]string{taskArg}, args...)...)
	cmd.Err = err
	return cmd
}

// runTask runs the task in args, and prints how long its work has taken without the preparation.
func runTask(args []string) int {
	elapsed, err := tasks[args[0]](args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(elapsedPrefix + elapsed.String())
	return 0
}

// repeat calls work several times, and returns the elapsed time.
func repeat(times int, work func() error) (time.Duration, error) {
	start := time.Now()
	for range times {
		if err := work(); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
