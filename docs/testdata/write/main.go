// Command write is the builder in the page on how a build is made. It lists the store, and writes its
// arguments to its output, a line each. The word OUT stands for the path of the output.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	out := os.Getenv("out")
	if err := write(out, os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("wrote", out)
}

func write(out string, lines []string) error {
	entries, err := os.ReadDir("/nix/store")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Println("the store has", e.Name())
	}
	text := strings.ReplaceAll(strings.Join(lines, "\n"), "OUT", out) + "\n"
	return os.WriteFile(out, []byte(text), 0o666)
}
