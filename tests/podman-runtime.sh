#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A runtime for `podman --runtime`, for machines where podman may not raise the limits it asks for:
# takes the resource limits out of the bundle's config.json, then is runc.
before=
for argument; do
    case "$before" in
    --bundle | -b)
        sed -i 's/"rlimits":\[[^]]*\],//; s/,"rlimits":\[[^]]*\]//' "$argument/config.json" || exit 1
        ;;
    esac
    before="$argument"
done
exec runc "$@"
