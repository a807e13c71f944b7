package nixconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"pix/internal/nixbase64"
)

// A Machine is a machine of the setting builders, on which derivations are built.
type Machine struct {
	// Store is the URI of the store of the machine, without the parameters that follow from the other fields.
	Store string

	Systems   []string // for which it builds
	SSHKey    string   // the file of a private key; "" is the default of ssh
	MaxJobs   uint     // how many derivations it builds at once
	Speed     float64  // relative to others
	Features  []string // that derivations may require
	Mandatory []string // features that a derivation must require
	HostKey   string   // base64 of the public key of the host; "" is the default of ssh
}

// Builds reports whether the machine builds derivations for a system that require these features.
func (m *Machine) Builds(system string, required []string) bool {
	offers := func(f string) bool { return slices.Contains(m.Features, f) || slices.Contains(m.Mandatory, f) }
	return (system == "builtin" || slices.Contains(m.Systems, system)) &&
		!slices.ContainsFunc(required, func(f string) bool { return !offers(f) }) &&
		!slices.ContainsFunc(m.Mandatory, func(f string) bool { return !slices.Contains(required, f) })
}

// URI returns the URI of the store of the machine, with the keys as parameters.
func (m *Machine) URI() string {
	uri := m.Store
	if !strings.HasPrefix(uri, "ssh://") && !strings.HasPrefix(uri, "ssh-ng://") {
		return uri
	}
	for _, p := range []struct{ name, value string }{{"ssh-key", m.SSHKey}, {"base64-ssh-public-host-key", m.HostKey}} {
		if p.value == "" {
			continue
		}
		separator := "?"
		if strings.Contains(uri, "?") {
			separator = "&"
		}
		uri += separator + p.name + "=" + escape(p.value)
	}
	return uri
}

const (
	maxMachinesFile  = 1 << 20 // bytes
	maxMachinesDepth = 8       // of files that name files
	maxMachines      = 4096
)

// ParseMachines parses the setting builders, in which entries are separated by line feeds and semicolons, and @FILE reads
// a file. A file that does not exist is ignored. Machines without systems build for the given one. The errors have the
// texts of Nix.
//
// Source: src/libstore/machines.cc in Nix 2.34.8.
func ParseMachines(text, system string) ([]Machine, error) {
	rows, err := machineRows(text, 0)
	if err != nil {
		return nil, err
	}
	if len(rows) > maxMachines {
		return nil, fmt.Errorf("builders: %d machines, at most %d are supported", len(rows), maxMachines)
	}
	machines := make([]Machine, len(rows))
	for i, row := range rows {
		if machines[i], err = parseMachine(row, system); err != nil {
			return nil, err
		}
	}
	return machines, nil
}

// machineRows returns the entries in text and in the files that it names.
func machineRows(text string, depth int) (rows []string, err error) {
	for line := range strings.SplitSeq(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		for entry := range strings.SplitSeq(line, ";") {
			entry = strings.TrimFunc(entry, isSpace)
			file, isFile := strings.CutPrefix(entry, "@")
			switch {
			case entry == "":
			case isFile:
				some, err := machinesOfFile(strings.TrimFunc(file, isSpace), depth)
				if err != nil {
					return nil, err
				}
				rows = append(rows, some...)
			default:
				rows = append(rows, entry)
			}
		}
	}
	return rows, nil
}

func machinesOfFile(name string, depth int) ([]string, error) {
	if depth == maxMachinesDepth {
		return nil, fmt.Errorf("builders: too many nested files at '%s'", name)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a named pipe would wait for a writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("builders: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("builders: '%s' is not a regular file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxMachinesFile+1))
	if err == nil && len(text) > maxMachinesFile {
		err = fmt.Errorf("'%s' is larger than %d bytes", name, maxMachinesFile)
	}
	if err != nil {
		return nil, fmt.Errorf("builders: %w", err)
	}
	return machineRows(string(text), depth+1)
}

// parseMachine parses an entry. Its columns are separated by white space; - stands for the default.
func parseMachine(row, system string) (Machine, error) {
	columns := words(row)
	column := func(i int) string {
		if i < len(columns) && columns[i] != "-" {
			return columns[i]
		}
		return ""
	}
	list := func(i int) []string {
		return strings.FieldsFunc(column(i), func(r rune) bool { return r == ',' })
	}
	m := Machine{
		Store: machineStore(column(0)), Systems: list(1), SSHKey: column(2), MaxJobs: 1, Speed: 1,
		Features: list(5), Mandatory: list(6), HostKey: column(7),
	}
	if m.Store == "" {
		return m, fmt.Errorf("bad machine specification: store URL was not found at the first column of a row: '%s'", row)
	}
	if len(m.Systems) == 0 {
		m.Systems = []string{system}
	}
	if text := column(3); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return m, fmt.Errorf("bad machine specification: failed to convert column #3 in a row: '%s' to 'unsigned int'", row)
		}
		m.MaxJobs = uint(n)
	}
	if text := column(4); text != "" {
		speed, err := strconv.ParseFloat(text, 32)
		if err != nil || speed != speed {
			return m, fmt.Errorf("bad machine specification: failed to convert column #4 in a row: '%s' to 'float'", row)
		}
		if speed < 0 {
			return m, errors.New("speed factor must be >= 0")
		}
		if speed > 0 {
			m.Speed = speed
		}
	}
	if _, err := nixbase64.DecodeString(m.HostKey); err != nil {
		return m, fmt.Errorf("while parsing machine specification at a column #7 in a row: '%s': %w", row, err)
	}
	return m, nil
}

// machineStore returns the URI for the first column, which may be the name of a host.
func machineStore(text string) string {
	name, _, _ := strings.Cut(text, "?")
	if text == "" || strings.Contains(text, "/") || slices.Contains([]string{"", "auto", "daemon", "local"}, name) {
		return text
	}
	return "ssh://" + text
}
