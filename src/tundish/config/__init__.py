"""The site's configuration file: places, deployments, prices, routes and policy, checked as a whole."""
