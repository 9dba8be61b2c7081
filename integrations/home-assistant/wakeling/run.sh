#!/usr/bin/with-contenv bashio
# Starts the service with the options of the add-on, and reports it to Home Assistant.
# shellcheck shell=bash

port=${WAKELING_PORT:-10400}
models=$(bashio::config models)
options=(
    --address "0.0.0.0:$port"
    --sensitivity "$(bashio::config sensitivity)"
    --clients "$(bashio::config clients)"
)
if bashio::config.true save_detections; then
    options+=(--save-detections "$models/detections")
fi
compgen -G "$models/*.wkl" >/dev/null ||
    bashio::exit.nok "There is no model in $models: copy your model.wkl there, then start the add-on again."

# Discovery, as soon as the port answers.
(
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 1; done
    bashio::discovery wyoming "$(bashio::var.json uri "tcp://$(hostname):$port")" >/dev/null ||
        bashio::log.warning "Discovery failed: add the integration Wyoming Protocol by hand."
) &

exec wakeling serve "$models" "${options[@]}"
