package protocol

import (
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

func plainString(s string) any { return s }

func pathJSON(p storepath.Path) any { return p.Base() }

func derivedPathJSON(p derivation.DerivedPath) any { return p }

func optionalPathJSON(p storepath.Path) any {
	if p == "" {
		return nil
	}
	return p.Base()
}

func caJSON(ca storepath.ContentAddress) any {
	if ca.IsZero() {
		return nil
	}
	return map[string]any{"method": ca.Method().String(), "hash": ca.Hash().SRI()}
}

// newSignatures converts the signatures of built outputs to the current form.
func newSignatures(v any) any {
	outputs, _ := v.(map[string]any)["builtOutputs"].(map[string]any)
	for _, o := range outputs {
		withoutDependent(o)
	}
	return v
}

func keyedBuildResultJSON(r store.KeyedBuildResult) any {
	m := buildResultJSON(r.BuildResult).(map[string]any)
	m["path"] = r.Path
	return m
}

func trustJSON(t Trust) any {
	return map[Trust]any{TrustUnknown: nil, Trusted: true, NotTrusted: false}[t]
}

func drvOutputJSON(id store.DrvOutput) any {
	if !id.Hash.IsZero() {
		return id.HashID()
	}
	return map[string]any{"drvPath": id.Path.Base(), "outputName": id.Output}
}

func signaturesJSON(signatures []string) any {
	l := []any{}
	for _, s := range signatures {
		name, sig, _ := strings.Cut(s, ":")
		l = append(l, map[string]any{"keyName": name, "sig": sig})
	}
	return l
}

func basesJSON(paths []storepath.Path) any {
	l := []any{}
	for _, p := range paths {
		l = append(l, p.Base())
	}
	return l
}

func realisationJSON(r store.Realisation) any {
	return map[string]any{"outPath": r.OutPath.Base(), "signatures": signaturesJSON(r.Signatures)}
}

func keyedRealisationJSON(r store.KeyedRealisation) any {
	if r.ID.Hash.IsZero() {
		return map[string]any{"key": drvOutputJSON(r.ID), "value": realisationJSON(r.Realisation)}
	}
	m := realisationJSON(r.Realisation).(map[string]any)
	m["id"] = drvOutputJSON(r.ID)
	return m
}

func pathInfoJSON(info store.PathInfo) any {
	return map[string]any{
		"ca": caJSON(info.CA), "deriver": optionalPathJSON(info.Deriver), "narHash": info.NARHash.SRI(),
		"narSize": info.NARSize, "references": basesJSON(info.References),
		"registrationTime": info.RegistrationTime.Unix(), "signatures": signaturesJSON(info.Signatures),
		"storeDir": "/nix/store", "ultimate": info.Ultimate, "version": 3,
	}
}

func keyedPathInfoJSON(info store.PathInfo) any {
	m := pathInfoJSON(info).(map[string]any)
	m["path"] = info.Path.Base()
	return m
}

func buildResultJSON(r store.BuildResult) any {
	m := map[string]any{
		"status": r.Status.String(), "success": r.Status.Succeeded(), "timesBuilt": r.TimesBuilt,
		"startTime": seconds(r.Start), "stopTime": seconds(r.Stop),
	}
	if r.CPUUser != nil {
		m["cpuUser"] = r.CPUUser.Microseconds()
	}
	if r.CPUSystem != nil {
		m["cpuSystem"] = r.CPUSystem.Microseconds()
	}
	if !r.Status.Succeeded() {
		m["errorMsg"], m["isNonDeterministic"] = r.Message, r.NonDeterministic
		return m
	}
	outputs := map[string]any{}
	for name, o := range r.Outputs {
		outputs[name] = realisationJSON(o)
		if !r.DrvHash.IsZero() {
			outputs[name] = keyedRealisationJSON(store.KeyedRealisation{ID: store.DrvOutput{Hash: r.DrvHash, Output: name}, Realisation: o})
		}
	}
	m["builtOutputs"] = outputs
	return m
}

// withoutDependent removes the fields of a realisation that Nix no longer reads.
func withoutDependent(v any) any {
	m := v.(map[string]any)
	delete(m, "dependentRealisations")
	if l, _ := m["signatures"].([]any); len(l) > 0 {
		if _, isText := l[0].(string); isText {
			var signatures []string
			for _, s := range l {
				signatures = append(signatures, s.(string))
			}
			m["signatures"] = signaturesJSON(signatures)
		}
	}
	return m
}
