package nixconf

import (
	"cmp"
	"slices"
	"strings"
)

// A Setting is a row of the table of settings.
type Setting struct {
	Name    string
	Aliases []string // older names
	Type    Type

	// Default is the default in pix, in the syntax of nix.conf. A few defaults depend on the machine, the
	// user and the environment: [Conf.Get] returns them.
	Default string

	// Nix is the default in Nix if it differs.
	Nix string

	// Feature is the experimental feature that enables the setting; "" if it needs none.
	Feature string

	Who Who // who may set it

	// By names the packages that implement the setting. If it is "", Reason says why pix does not.
	By     string
	Reason string
}

// Who says who may change a setting.
type Who uint8

const (
	// ConfOnly settings come only from the configuration of the process that uses them. A daemon
	// ignores the values of its clients.
	ConfOnly Who = iota
	// TrustedClient settings may also come from a trusted client of a daemon.
	TrustedClient
	// AnyClient settings may also come from any client of a daemon.
	AnyClient
	// AnyClientField settings may come from any client in a field of the protocol, and from a trusted
	// client by name.
	AnyClientField
	// ListedClient settings may come from a trusted client. Other clients may set them only to values
	// in the settings substituters and trusted-substituters.
	ListedClient
)

// String returns the value in words, for the documentation.
func (w Who) String() string {
	switch w {
	case TrustedClient:
		return "trusted clients"
	case AnyClient, AnyClientField:
		return "all clients"
	case ListedClient:
		return "trusted clients; other clients only to listed values"
	}
	return "nix.conf"
}

// byName has the settings by name and alias.
var byName = index()

func index() map[string]*Setting {
	all := make(map[string]*Setting)
	for i := range table {
		s := &table[i]
		all[s.Name] = s
		for _, alias := range s.Aliases {
			all[alias] = s
		}
	}
	return all
}

// Settings returns the table, sorted by name.
func Settings() []Setting {
	all := slices.Clone(table)
	slices.SortFunc(all, func(a, b Setting) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Find returns the setting with a name or an alias, or nil. It does not accept extra-NAME.
func Find(name string) *Setting { return byName[name] }

// find returns the setting with a name in a configuration, and whether the value is appended. It returns nil
// for an unknown setting.
func find(name string) (s *Setting, appended bool) {
	if s = byName[name]; s != nil {
		return s, false
	}
	if rest, ok := strings.CutPrefix(name, "extra-"); ok {
		if s = byName[rest]; s != nil && s.Type.appends() {
			return s, true
		}
	}
	return nil, false
}
