package protocol

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// A Version is a version of the protocol: major<<8 | minor. 293 is 1.37.
type Version uint16

const (
	// MinVersion is the oldest supported version: 1.18, of Nix 2.0. Nix itself supports no
	// older one.
	MinVersion = Version(1<<8 | 18)
	// MaxVersion is the newest supported version: 1.38, of Nix 2.26 and later. Later changes
	// are features.
	MaxVersion = Version(1<<8 | 38)
)

// MakeVersion returns version 1.minor.
func MakeVersion(minor uint8) Version { return Version(1<<8) | Version(minor) }

// Major returns the major version, which is 1 in every daemon in use.
func (v Version) Major() int { return int(v >> 8) }

// Minor returns the minor version.
func (v Version) Minor() int { return int(v & 0xff) }

// String returns a version such as "1.37".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major(), v.Minor()) }

// Features is a set of the features of this package. The zero value is empty.
type Features uint16

// The features of Nix 2.36, and three of Determinate Nix 3.22. They are negotiated from 1.38 on.
const (
	// RealisationWithPath is "realisation-with-path-not-hash": the key of a realisation is a
	// derivation path and an output name, and realisations are not JSON any more.
	RealisationWithPath Features = 1 << iota
	// DeleteDeadSpecificReferrers is "delete-dead-specific-referrers": a garbage collection can
	// be limited to given paths and their referrers.
	DeleteDeadSpecificReferrers
	// NoSetOptions is "disable-set-options": the operation [SetOptions] does not exist.
	NoSetOptions
	// Scanning is "add-to-store-scanning": the operation [AddToStoreScanning] exists.
	Scanning
	// OutputSubmission is "submit-output": the operation [SubmitOutput] exists.
	OutputSubmission
	// TempRoots is "addTempRoots": the operation [AddTempRoots] exists. Clients of Determinate
	// Nix create no temporary roots without it.
	TempRoots
	// PathInfos is "queryPathInfos": the operation [QueryPathInfos] exists.
	PathInfos
	// ActiveBuilds is "queryActiveBuilds": the operation [QueryActiveBuilds] exists.
	ActiveBuilds
	numFeatures = iota
)

const (
	// AllFeatures are the features of daemons that serve users.
	AllFeatures = RealisationWithPath | DeleteDeadSpecificReferrers | TempRoots | PathInfos | ActiveBuilds
	// BuildFeatures are the features that only the daemon for running builds has.
	BuildFeatures = NoSetOptions | Scanning | OutputSubmission
)

var featureNames = [numFeatures]string{
	"realisation-with-path-not-hash", "delete-dead-specific-referrers",
	"disable-set-options", "add-to-store-scanning", "submit-output",
	"addTempRoots", "queryPathInfos", "queryActiveBuilds",
}

// Has reports whether f contains all features of g.
func (f Features) Has(g Features) bool { return f&g == g }

// Names returns the names of the features on the wire, sorted.
func (f Features) Names() []string {
	var names []string
	for i, name := range featureNames {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// String returns the names, separated by spaces.
func (f Features) String() string { return strings.Join(f.Names(), " ") }

// featuresOf returns the set of the given features. It ignores unknown names.
func featuresOf(names []string) (f Features) {
	for _, name := range names {
		for i, known := range featureNames {
			if name == known {
				f |= 1 << i
			}
		}
	}
	return f
}

// Params are the negotiated version and features, and the store directory. Every value is
// encoded and decoded according to them.
type Params struct {
	Version  Version
	Features Features
	Dir      storepath.Dir
}
