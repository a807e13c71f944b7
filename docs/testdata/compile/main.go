// Command compile is the compiler in the page on overlays. It reads the compiler that it pretends to be, and writes the
// source with the path of the library that the result needs.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	with := flag.String("with", "", "the compiler")
	link := flag.String("link", "", "the library that the result needs")
	flag.Parse()
	text := flag.Arg(0) + "\n"
	if *link != "" {
		text += "needs " + *link + "\n"
	}
	for _, input := range []string{*with, *link} {
		if input == "" {
			continue
		}
		if _, err := os.ReadFile(input); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	if err := os.WriteFile(os.Getenv("out"), []byte(text), 0o666); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
