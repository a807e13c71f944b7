package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	gonix "github.com/nix-community/go-nix/pkg/derivation"

	"pix/derivation"
)

// A drv is the text of a .drv file.
type drv struct {
	text  string
	bytes []byte
}

// load reads the .drv files in directories.
func load(dirs []string) ([]drv, error) {
	var all []drv
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.drv"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			b = bytes.ReplaceAll(b, []byte("/gnu/store/"), []byte("/nix/store/")) // go-nix accepts no other directory
			all = append(all, drv{string(b), b})
		}
	}
	return all, nil
}

// gonixRead parses with go-nix. At the end, after it has parsed everything, go-nix requires a variable
// that Guix does not set; that error is ignored.
func gonixRead(text []byte) (*gonix.Derivation, error) {
	d, err := gonix.ReadDerivation(bytes.NewReader(text))
	if err != nil && d != nil && err.Error() == "env 'name' not found" {
		err = nil
	}
	return d, err
}

// common removes derivations that go-nix cannot read, or reads only sometimes: its validation depends
// on the order in which it iterates over a map.
func common(all []drv) (both []drv, size int, escaped int) {
	const tries = 16
	for _, d := range all {
		var err error
		for range tries {
			if _, err = gonixRead(d.bytes); err != nil {
				break
			}
		}
		if err == nil {
			both = append(both, d)
			size += len(d.text)
			escaped += escapedStrings(d.text)
		}
	}
	return both, size, escaped
}

// escapedStrings counts the strings of a derivation that contain an escape sequence.
func escapedStrings(text string) (n int) {
	inside, escape := false, false
	for i := 0; i < len(text); i++ {
		switch {
		case inside && text[i] == '\\':
			escape = true
			i++
		case text[i] == '"':
			if inside && escape {
				n++
			}
			inside, escape = !inside, false
		}
	}
	return n
}

// leastBytes is the minimal amount of work of each contender, so that a small corpus is measured as
// precisely as a large one.
const leastBytes = 20e6

// again repeats work.
func again(times int, work func() error) func() error {
	return func() error {
		for range times {
			if err := work(); err != nil {
				return err
			}
		}
		return nil
	}
}

// derivations prints the speed of parsing derivations, and of parsing and printing them.
func derivations(all []drv) error {
	both, size, escaped := common(all)
	passes := 1 + leastBytes/max(size, 1)
	fmt.Printf("%d derivations of %d, which both can read, %.1f MB, %d strings with an escape; one core, median of %d, %d passes each\n\n",
		len(both), len(all), float64(size)/1e6, escaped, rounds, passes)
	var sink int
	figures, err := race([]contender{
		{"pix: parse", again(passes, func() error { return pixParse(both, &sink) })},
		{"go-nix: parse", again(passes, func() error { return gonixParse(both, &sink) })},
		{"pix: parse and print", again(passes, func() error { return pixPrint(both) })},
		{"go-nix: parse and print", again(passes, func() error { return gonixPrint(both) })},
	})
	if err != nil {
		return err
	}
	fmt.Printf("%-26s %10s %10s %12s %8s\n", "", "MB/s", "drv/s", "allocs/drv", "ratio")
	for i, f := range figures {
		peer := figures[i|1] // go-nix comes after pix
		fmt.Printf("%-26s %10.0f %10.0f %12.1f %7.1fx\n", f.name,
			float64(passes*size)/1e6/f.time.Seconds(), float64(passes*len(both))/f.time.Seconds(),
			float64(f.allocs)/float64(passes*len(both)), peer.time.Seconds()/f.time.Seconds())
	}
	fmt.Printf("\nAllocations of pix beyond one per string with an escape: %.1f per derivation\n",
		float64(figures[0].allocs)/float64(passes*len(both))-float64(escaped)/float64(len(both)))
	return nil
}

// pixParse parses all derivations, and reads every field.
func pixParse(all []drv, sink *int) error {
	for _, text := range all {
		d, err := derivation.Parse(text.text)
		if err != nil {
			return err
		}
		n := len(d.Platform) + len(d.Builder) + d.InputSources.Len()
		for name, output := range d.Outputs.All() {
			n += len(name) + len(output.Path())
		}
		for path, used := range d.InputDerivations.All() {
			n += len(path) + used.Names.Len()
		}
		for _, arg := range d.Args {
			n += len(arg)
		}
		for key, value := range d.Env.All() {
			n += len(key) + len(value)
		}
		*sink += n
	}
	return nil
}

func gonixParse(all []drv, sink *int) error {
	for _, text := range all {
		d, err := gonixRead(text.bytes)
		if err != nil {
			return err
		}
		n := len(d.Platform) + len(d.Builder) + len(d.InputSources)
		for name, output := range d.Outputs {
			n += len(name) + len(output.Path)
		}
		for path, used := range d.InputDerivations {
			n += len(path) + len(used)
		}
		for _, arg := range d.Arguments {
			n += len(arg)
		}
		for key, value := range d.Env {
			n += len(key) + len(value)
		}
		*sink += n
	}
	return nil
}

func pixPrint(all []drv) error {
	var buf []byte
	for _, text := range all {
		d, err := derivation.Parse(text.text)
		if err != nil {
			return err
		}
		if buf = d.AppendATerm(buf[:0]); string(buf) != text.text {
			return fmt.Errorf("a derivation was not printed as it was: %.200s", text.text)
		}
	}
	return nil
}

func gonixPrint(all []drv) error {
	var buf bytes.Buffer
	for _, text := range all {
		d, err := gonixRead(text.bytes)
		if err != nil {
			return err
		}
		buf.Reset()
		if err := d.WriteDerivation(&buf); err != nil {
			return err
		}
		if !strings.HasPrefix(buf.String(), "Derive(") {
			return fmt.Errorf("go-nix printed %.200q", buf.String())
		}
	}
	return nil
}
