package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"
)

// echo prints its arguments. It has the options of ash: -n for no line feed, and -e for escapes.
func echo(hc interp.HandlerContext, args []string) error {
	newline, escapes := "\n", false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], "neE") == "" {
		for _, c := range args[0][1:] {
			switch c {
			case 'n':
				newline = ""
			case 'e':
				escapes = true
			case 'E':
				escapes = false
			}
		}
		args = args[1:]
	}
	text := strings.Join(args, " ")
	if escapes {
		var stop bool
		if text, stop = unescape(text, true); stop {
			newline = ""
		}
	}
	_, err := io.WriteString(hc.Stdout, text+newline)
	return err
}

var escapeCodes = map[byte]byte{'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '\\': '\\', 'e': 27}

// unescape replaces escapes, and reports whether \c ended the text. Octal numbers have a leading zero in arguments, and may
// have none in formats.
func unescape(s string, argument bool) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		switch code, ok := escapeCodes[c]; {
		case ok:
			b.WriteByte(code)
		case c == 'c':
			return b.String(), true
		case c >= '0' && c <= '7' && (c == '0' || !argument):
			digits := 3
			if c == '0' && argument {
				digits = 4
			}
			n := 0
			end := min(i+digits, len(s))
			for ; i < end && s[i] >= '0' && s[i] <= '7'; i++ {
				n = n*8 + int(s[i]-'0')
			}
			i--
			b.WriteByte(byte(n))
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), false
}

// printf prints arguments by a format, which it repeats while there are arguments.
func printf(hc interp.HandlerContext, args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return fmt.Errorf("a format is missing")
	}
	p := &formatter{args: args[1:]}
	for {
		before := len(p.args)
		if p.format(args[0]) || len(p.args) == 0 || len(p.args) == before {
			break
		}
	}
	if _, err := io.WriteString(hc.Stdout, p.out.String()); err != nil {
		return err
	}
	return p.err
}

type formatter struct {
	args []string
	out  strings.Builder
	err  error // of the last bad number
}

func (p *formatter) next() string {
	if len(p.args) == 0 {
		return ""
	}
	arg := p.args[0]
	p.args = p.args[1:]
	return arg
}

// format prints a format once, and reports whether \c ended the output.
func (p *formatter) format(format string) bool {
	for len(format) > 0 {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			i = len(format)
		}
		text, stop := unescape(format[:i], false)
		if p.out.WriteString(text); stop {
			return true
		}
		if format = format[i:]; format == "" {
			return false
		}
		if strings.HasPrefix(format, "%%") {
			p.out.WriteByte('%')
			format = format[2:]
			continue
		}
		end := 1 + strings.IndexFunc(format[1:], func(c rune) bool { return !strings.ContainsRune("#-+ 0123456789.*", c) })
		if end == 0 {
			p.err = fmt.Errorf("%s: bad format", format)
			return true
		}
		spec := format[:end]
		for strings.Contains(spec, "*") {
			spec = strings.Replace(spec, "*", strconv.FormatInt(p.number(p.next()), 10), 1)
		}
		if p.verb(spec, format[end]) {
			return true
		}
		format = format[end+1:]
	}
	return false
}

func (p *formatter) verb(spec string, verb byte) bool {
	switch verb {
	case 's':
		p.out.WriteString(pad(spec, p.next()))
	case 'b':
		text, stop := unescape(p.next(), true)
		p.out.WriteString(pad(spec, text))
		return stop
	case 'c':
		arg := p.next()
		p.out.WriteString(pad(spec, arg[:min(1, len(arg))]))
	case 'd', 'i':
		fmt.Fprintf(&p.out, spec+"d", p.number(p.next()))
	case 'u':
		fmt.Fprintf(&p.out, spec+"d", uint64(p.number(p.next())))
	case 'o', 'x', 'X':
		fmt.Fprintf(&p.out, spec+string(verb), uint64(p.number(p.next())))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		arg := p.next()
		f, err := strconv.ParseFloat(strings.TrimSpace(arg), 64)
		if err != nil && arg != "" {
			p.err = fmt.Errorf("%s: bad number", arg)
		}
		if !strings.Contains(spec, ".") && (verb == 'g' || verb == 'G') {
			spec += ".6"
		}
		fmt.Fprintf(&p.out, spec+string(verb), f)
	default:
		p.err = fmt.Errorf("%%%c: bad format", verb)
		return true
	}
	return false
}

// pad does the width and precision of a text in bytes, not in characters as Go does.
func pad(spec, text string) string {
	flags := strings.TrimLeft(spec[1:], "#+ 0")
	left := strings.HasPrefix(flags, "-")
	width, precision, cut := strings.Cut(strings.TrimLeft(flags, "-#+ 0"), ".")
	if n, err := strconv.Atoi(precision); cut {
		if err != nil {
			n = 0
		}
		text = text[:min(max(n, 0), len(text))]
	}
	n, _ := strconv.Atoi(width)
	fill := strings.Repeat(" ", max(0, n-len(text)))
	if left {
		return text + fill
	}
	return fill + text
}

// number returns the value of a number as C writes it, or of a character after a quote.
func (p *formatter) number(arg string) int64 {
	text := strings.TrimSpace(arg)
	if text == "" {
		return 0
	}
	if text[0] == '\'' || text[0] == '"' {
		for _, c := range text[1:] {
			return int64(c)
		}
		return 0
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || strings.ContainsAny(text, "_") {
		u, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			p.err = fmt.Errorf("%s: bad number", arg)
			return 0
		}
		return int64(u)
	}
	return n
}
