# Debian's nginx, to stand in front of Terrazzo. The configuration, ../nginx.conf, is mounted at /etc/nginx/nginx.conf.
ARG BASE=debian:trixie-slim
FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends nginx-light \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/nginx/*.log \
 && ln -s /dev/stdout /var/log/nginx/access.log \
 && ln -s /dev/stderr /var/log/nginx/error.log \
 && install -d /var/cache/nginx
# The main process makes its folders as root without rights over those of others, opens port 80, and starts workers as www-data.
VOLUME ["/var/cache/nginx"]
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
