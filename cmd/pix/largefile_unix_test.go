//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/derivation"
)

// A FILE without end is read up to a bound, which the error names.
func TestEndlessFiles(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-zero.drv")
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"drv-show ZERO", "drv-show --json-version 4 ZERO", "drv-hash ZERO", "drv-diff ZERO ZERO", "drv-add ZERO", "explain ZERO", "explain --against ZERO ZERO",
		"explain --why-rebuilt ZERO ZERO", "drv-verify " + link, "drv-verify " + dir,
		"serve --tls-certificate ZERO --tls-key ZERO", "narinfo-sign --key-file ZERO x",
	} {
		var out bytes.Buffer
		args = strings.ReplaceAll(args, "ZERO", "/dev/zero")
		env := map[string]string{"NIX_CONF_DIR": dir}
		code := run(append([]string{"--store", filepath.Join(dir, "store")}, strings.Fields(args)...), strings.NewReader(""), &out, &out, func(name string) string { return env[name] })
		if code == 0 || !strings.Contains(out.String(), "it has more than ") || !strings.Contains(out.String(), "/dev/zero") && !strings.Contains(out.String(), link) {
			t.Errorf("%s: %d, %.300s", args, code, out.Bytes())
		}
	}
}

// JSON may be larger than one derivation, because it may have many.
func TestLargeJSON(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "derivation.json")
	text := `{"name":"x","outputs":{"out":{}},"inputSrcs":[],"inputDrvs":{},"system":"x86_64-linux","builder":"/bin/sh","args":[],"env":{}` +
		strings.Repeat(" ", derivation.MaxFile) + "}"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := pixOutput(t, "--store", filepath.Join(dir, "store"), "drv-add", file); !strings.HasSuffix(out, "-x.drv") {
		t.Errorf("it printed %.200q", out)
	}
}
