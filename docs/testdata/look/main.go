// Command look is the builder in the page on building: it prints what it sees, and writes its output.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) == 1 {
		fmt.Println("nothing to do")
		os.Exit(3)
	}
	wd, _ := os.Getwd()
	fmt.Printf("process %d, user %d, group %d, directory %s\n", os.Getpid(), os.Getuid(), os.Getgid(), wd)
	for _, v := range slices.Sorted(slices.Values(os.Environ())) {
		fmt.Println(v)
	}
	for _, dir := range []string{"/", "/nix/store", "/etc"} {
		fmt.Println(dir+":", strings.Join(names(dir), " "))
	}
	fmt.Println("network interfaces:", strings.Join(interfaces(), " "))
	input := os.Args[1]
	for _, file := range []string{input, "/file"} {
		fmt.Println(os.WriteFile(file, []byte("changed"), 0o666))
	}
	text, err := os.ReadFile(input)
	if err == nil {
		err = os.WriteFile(os.Getenv("out"), fmt.Appendf(nil, "%ssee %s\n", text, input), 0o666)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func names(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func interfaces() (names []string) {
	text, _ := os.ReadFile("/proc/net/dev")
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}
