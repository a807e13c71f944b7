package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	gonix "github.com/nix-community/go-nix/pkg/derivation"
	gonixinfo "github.com/nix-community/go-nix/pkg/narinfo"

	"pix/derivation"
	"pix/narinfo"
)

// leastBytes is the minimal amount of text that each contender reads, so that a small corpus is measured as precisely
// as a large one.
const leastBytes = 50e6

// A corpus is the texts of the derivations in a directory.
type corpus struct {
	texts  []string
	bytes  [][]byte
	passes int // so often they are read
}

// load reads the .drv files in a directory.
func load(dir string) (*corpus, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.drv"))
	if err != nil {
		return nil, err
	}
	c, size := new(corpus), 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		size += len(b)
		c.texts, c.bytes = append(c.texts, string(b)), append(c.bytes, b)
	}
	c.passes = 1 + leastBytes/max(size, 1)
	return c, nil
}

// parsed measures a function that parses each text of the corpus in a directory.
func parsed[T any](dir string, texts func(*corpus) []T, parse func(T) error) (time.Duration, error) {
	c, err := load(dir)
	if err != nil {
		return 0, err
	}
	return repeat(c.passes, func() error {
		for _, text := range texts(c) {
			if err := parse(text); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *corpus) asTexts() []string { return c.texts }
func (c *corpus) asBytes() [][]byte { return c.bytes }

func pixParse(args []string) (time.Duration, error) {
	return parsed(args[0], (*corpus).asTexts, func(text string) error {
		_, err := derivation.Parse(text)
		return err
	})
}

func gonixParse(args []string) (time.Duration, error) {
	return parsed(args[0], (*corpus).asBytes, func(text []byte) error {
		_, err := gonix.ReadDerivation(bytes.NewReader(text))
		return err
	})
}

func pixPrint(args []string) (time.Duration, error) {
	var buf []byte
	return parsed(args[0], (*corpus).asTexts, func(text string) error {
		d, err := derivation.Parse(text)
		if err != nil {
			return err
		}
		if buf = d.AppendATerm(buf[:0]); string(buf) != text {
			return fmt.Errorf("a derivation was not printed as it was: %.200s", text)
		}
		return nil
	})
}

func gonixPrint(args []string) (time.Duration, error) {
	var buf bytes.Buffer
	return parsed(args[0], (*corpus).asBytes, func(text []byte) error {
		d, err := gonix.ReadDerivation(bytes.NewReader(text))
		if err != nil {
			return err
		}
		buf.Reset()
		if err := d.WriteDerivation(&buf); err != nil {
			return err
		}
		if !bytes.Equal(buf.Bytes(), text) {
			return fmt.Errorf("go-nix did not print a derivation as it was: %.200s", text)
		}
		return nil
	})
}

// readers returns contenders that are tasks of pix and of go-nix with the same name.
func readers(name string, args ...string) []contender {
	return []contender{
		task("pix", append([]string{"pix-" + name}, args...)...),
		task("go-nix", append([]string{"gonix-" + name}, args...)...),
	}
}

func parseRow(l *lab, t *scope) work {
	return work{fmt.Sprintf("%d MB of text", int(leastBytes/1e6)), readers("parse", derivationDir(t, 5000))}
}

func printRow(l *lab, t *scope) work {
	return work{fmt.Sprintf("%d MB of text", int(leastBytes/1e6)), readers("print", derivationDir(t, 5000))}
}

// narinfos is the number of narinfos that are parsed.
const narinfos = 5000

// narinfoText is a narinfo with some references.
var narinfoText = `StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz
Compression: xz
FileHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3
FileSize: 4029176
NarHash: sha256:09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm
NarSize: 34878
References: ` + strings.Repeat("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar ", 9) + `n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
Deriver: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv
`

func pixNarinfo([]string) (time.Duration, error) {
	return repeat(narinfos, func() error {
		_, err := narinfo.Parse(narinfoText, nil)
		return err
	})
}

func gonixNarinfo([]string) (time.Duration, error) {
	return repeat(narinfos, func() error {
		_, err := gonixinfo.Parse(strings.NewReader(narinfoText))
		return err
	})
}

func narinfoRow(l *lab, t *scope) work {
	return work{count(narinfos) + " texts", readers("narinfo")}
}
