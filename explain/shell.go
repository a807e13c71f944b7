package explain

import (
	"fmt"
	"strings"

	"pix/signature"
)

// A Script is a shell script that computes an explanation again.
type Script struct {
	Text  string
	Files []File // long texts that the script reads
}

// A File is a file of a script. Its name has no slash.
type File struct{ Name, Contents string }

// maxWord is the largest size in bytes of a text that stands in a script.
const maxWord = 64 << 10

// A LargeTextError reports that a script needs a directory for files, because a text is too long for a word of a script.
type LargeTextError struct {
	Step StepName
	Size int // in bytes
}

func (e *LargeTextError) Error() string {
	return fmt.Sprintf("the text of the step '%s' has %d bytes, and a script contains at most %d of a text", e.Step, e.Size, maxWord)
}

// Script returns a script for a POSIX shell that computes each step with coreutils, b3sum for BLAKE3, and openssl for signatures. It
// prints the store paths, and the other results that no step uses, one per line. Values that no step computes stand in the script.
//
// The bytes of the explained object are only in words in single quotes that printf writes, where everything except letters,
// digits and harmless punctuation is an octal escape. So no text can run a command. A text of more than 64 KiB is in one of the
// files, which the caller must write into dir. If dir is "", such a text is a [*LargeTextError].
func (e *Explanation) Script(dir string) (*Script, error) {
	w := scriptWriter{explanation: e, dir: dir, script: &Script{}}
	w.line("#!/bin/sh", "set -eu", "LC_ALL=C", "export LC_ALL")
	for _, f := range scriptFunctions {
		if e.uses(f.ops) {
			w.line("", f.text)
		}
	}
	if dir != "" {
		w.line("", "dir=$("+printf(dir+"/.")+")") // a shell drops a line feed at the end
	}
	for i := range e.Steps {
		if err := w.step(i+1, &e.Steps[i]); err != nil {
			return nil, err
		}
	}
	w.line("")
	for _, n := range e.printed() {
		w.line(`printf '%s\n' "$` + variable(n, &e.Steps[n-1]) + `"`)
	}
	w.script.Text = w.b.String()
	return w.script, nil
}

// printed returns the numbers of the steps whose results a script prints.
func (e *Explanation) printed() (numbers []int) {
	used := make([]bool, len(e.Steps)+1)
	for i := range e.Steps {
		for _, in := range e.Steps[i].Inputs {
			used[in.From] = true
		}
	}
	for i := range e.Steps {
		if s := &e.Steps[i]; s.Name == StepPath || !used[i+1] && s.Op != OpShow {
			numbers = append(numbers, i+1)
		}
	}
	return numbers
}

// uses reports whether a step has one of the operations.
func (e *Explanation) uses(ops []Op) bool {
	for i := range e.Steps {
		for _, op := range ops {
			if e.Steps[i].Op == op {
				return true
			}
		}
	}
	return false
}

// scriptFunctions are the functions that scripts define if they need them.
var scriptFunctions = []struct {
	ops  []Op
	text string
}{
	{[]Op{OpFold}, `# xor20 prints 20 bytes in hex: the bytes of $1, which has 32, with the last 12 XORed onto the first 12.
xor20() {
	set -- $(printf '%s\n' "$1" | fold -w 2) 0 0 0 0 0 0 0 0
	n=20
	while [ "$n" -gt 0 ]; do
		printf '%02x' "$((0x$1 ^ 0x${21}))"
		shift
		n=$((n - 1))
	done
}`},
	{[]Op{OpVerify}, verifyFunction},
	{[]Op{OpNix32}, `# digit prints the argument whose number, counted from 0, is $1.
digit() {
	shift "$1"
	printf '%s' "$2"
}

# nix32 prints the bytes of $1, which is in hex, in base 32: from the last byte to the first, five bits for each digit.
nix32() {
	value=0
	bits=$(((5 - ${#1} * 4 % 5) % 5))
	for byte in $(printf '%s\n' "$1" | fold -w 2 | tac); do
		value=$(((value << 8 | 0x$byte) & 4095))
		bits=$((bits + 8))
		while [ "$bits" -ge 5 ]; do
			bits=$((bits - 5))
			digit "$((value >> bits & 31))" 0 1 2 3 4 5 6 7 8 9 a b c d f g h i j k l m n p q r s v w x y z
		done
	done
}`},
}

// verifyFunction is the function that scripts define if they verify signatures. It works on files, because variables of a shell
// cannot have NUL bytes.
const verifyFunction = `# verified prints valid if $tmp has a public key, a text and a signature of the text by the key.
verified() {
	if openssl pkeyutl -verify -pubin -keyform DER -inkey "$tmp/key" -rawin -in "$tmp/text" -sigfile "$tmp/signature" > "$tmp/out" 2>&1; then
		printf 'valid'
	else
		printf 'invalid'
	fi
}
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT`

// keyPrefix is the beginning of an ed25519 public key in DER, the form of keys for openssl. The 32 bytes of the key follow.
const keyPrefix = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"

// verify writes the commands that verify a signature.
func (w *scriptWriter) verify(name, text string, s *Step) error {
	given := s.input("public key")
	if given == "" {
		w.line(name + "=" + s.Result)
		return nil
	}
	key, err := signature.ParsePublicKey(given)
	if err != nil {
		return err
	}
	sig, err := signature.Parse(s.input("signature"))
	if err != nil {
		return err
	}
	w.line(printf(keyPrefix+string(key.Bytes()))+` > "$tmp/key"`, printf(string(sig.Bytes()))+` > "$tmp/signature"`, text+` > "$tmp/text"`)
	w.line(name + "=$(verified)")
	return nil
}

// A scriptWriter writes the script of an explanation. Texts of more than maxWord bytes are files in dir.
type scriptWriter struct {
	explanation *Explanation
	dir         string
	script      *Script
	b           strings.Builder
}

func (w *scriptWriter) line(lines ...string) {
	for _, l := range lines {
		w.b.WriteString(l + "\n")
	}
}

// step writes the command of a step.
func (w *scriptWriter) step(number int, s *Step) error {
	if s.Op == OpShow {
		return nil
	}
	text, err := w.text(number, s)
	if err != nil {
		return err
	}
	// Only constants can be in a comment: a line feed in it would begin a command.
	w.line("", fmt.Sprintf("# %d. %s", number, s.Title))
	if s.Op == OpVerify {
		return w.verify(variable(number, s), text, s)
	}
	w.line(variable(number, s) + "=$(" + s.Op.command(text) + ")")
	return nil
}

// command returns the command that prints the result of the operation for a text that a command prints.
func (o Op) command(text string) string {
	switch o {
	case OpJoin:
		return text
	case OpFold:
		return `xor20 "$(` + text + `)"`
	case OpBase64:
		return text + " | tr a-f A-F | basenc --base16 -d | base64 -w 0"
	case OpNix32:
		return `nix32 "$(` + text + `)"`
	case "blake3":
		return text + " | b3sum | cut -d ' ' -f 1"
	}
	return text + " | " + string(o) + "sum | cut -d ' ' -f 1"
}

// text returns the command that prints the text of a step.
func (w *scriptWriter) text(number int, s *Step) (string, error) {
	var commands []string
	var format strings.Builder
	var args string
	flush := func() {
		if format.Len() > 0 {
			commands = append(commands, "printf '"+format.String()+"'"+args)
			format.Reset()
			args = ""
		}
	}
	for _, part := range s.parts() {
		switch {
		case part.from > 0:
			format.WriteString("%s")
			args += ` "$` + variable(part.from, &w.explanation.Steps[part.from-1]) + `"`
		case len(part.text) <= maxWord:
			writeOctal(&format, part.text)
		default:
			if w.dir == "" {
				return "", &LargeTextError{s.Name, len(part.text)}
			}
			flush()
			file := File{fmt.Sprintf("%d-%s-%d", number, s.Name, len(commands)+1), part.text}
			w.script.Files = append(w.script.Files, file)
			commands = append(commands, `cat -- "$dir/`+file.Name+`"`)
		}
	}
	flush()
	switch len(commands) {
	case 0:
		return "printf ''", nil
	case 1:
		return commands[0], nil
	}
	return "{ " + strings.Join(commands, "; ") + "; }", nil
}

// printf returns the command that prints a text.
func printf(text string) string {
	var b strings.Builder
	b.WriteString("printf '")
	writeOctal(&b, text)
	b.WriteByte('\'')
	return b.String()
}

// harmless are the bytes, besides letters and digits, that stand for themselves in a format of printf in single quotes.
const harmless = ` /:.,_-+=()[]{}"<>;@`

// writeOctal writes a text as a part of a format of printf. A dash that may be the first byte would begin an option.
func writeOctal(b *strings.Builder, text string) {
	for _, c := range []byte(text) {
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(harmless, c) >= 0
		switch {
		case c == '%':
			b.WriteString("%%")
		case plain && (c != '-' || b.Len() > 0 && !strings.HasSuffix(b.String(), "'")):
			b.WriteByte(c)
		default:
			fmt.Fprintf(b, `\%03o`, c)
		}
	}
}

// variable returns the name of the variable for the result of a step.
func variable(number int, s *Step) string {
	return fmt.Sprintf("s%d_%s", number, strings.ReplaceAll(string(s.Name), "-", "_"))
}
