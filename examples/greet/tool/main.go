// Command tool builds the packages of the example, and runs the program in one of them. The example compiles it without
// cgo, so it needs no file of the machine.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tool:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	out := os.Getenv("out") // where a builder writes its output
	switch args[0] {
	case "write":
		fmt.Println("writing", args[1])
		return os.WriteFile(out, []byte(args[1]), 0o666)
	case "greet": // a program that greets the name in a file
		name, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		program := filepath.Join(out, "bin", "hello")
		fmt.Println("writing", program)
		if err := os.MkdirAll(filepath.Dir(program), 0o777); err != nil {
			return err
		}
		// The kernel runs a file that begins with #! by the program that its first line names: this one.
		return os.WriteFile(program, fmt.Appendf(nil, "#!%s say\nhello, %s!\n", os.Getenv("builder"), name), 0o777)
	case "say": // run the program
		text, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		_, greeting, _ := strings.Cut(string(text), "\n")
		fmt.Print(greeting)
		return nil
	}
	return fmt.Errorf("unknown argument %s", args[0])
}
