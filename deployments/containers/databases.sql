-- One database and one owner for each server. The image of PostgreSQL runs this once, while its data folder is empty.
\set prefect_password `cat "${SECRETS:-/run/secrets}/prefect_database_password"`
\set mlflow_password `cat "${SECRETS:-/run/secrets}/mlflow_database_password"`

CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE prefect OWNER prefect;
CREATE DATABASE mlflow OWNER mlflow;
